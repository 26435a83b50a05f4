//! The migrations are embedded at compile time: a new one must make the library build again.

fn main() {
    for backend in ["postgres", "sqlite"] {
        println!("cargo:rerun-if-changed=migrations/{backend}");
    }
}
