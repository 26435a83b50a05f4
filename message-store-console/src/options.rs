//! The options of a command that runs a console.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::Console;

/// The environment variable with the token.
const TOKEN: &str = "MESSAGE_STORE_CONSOLE_TOKEN";
/// A shorter token could be guessed.
const SHORTEST: usize = 16;

/// How a console is served.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Environment:
  MESSAGE_STORE_CONSOLE_TOKEN  Who has this token may see the pages: open /?token=… once. Without it, the console listens on \
                               this machine only")]
pub struct Options {
    /// The address to listen on. Any other than this machine's own needs a token, and a proxy with TLS before it
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Show what changes something: retry, discard, pause, resume and reset, each with a question
    #[arg(long)]
    allow_actions: bool,
    /// Show neither data and metadata of messages, nor states of entities
    #[arg(long)]
    hide_data: bool,
}

impl Options {
    /// Serves the console until `stop` completes, and says where it listens.
    ///
    /// # Errors
    /// If the address cannot be listened on, or is not this machine's own and there is no token.
    pub async fn serve(self, console: Console, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let refused = |text: String| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        let mut console = console.allow_actions(self.allow_actions).hide_data(self.hide_data);
        match std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
            Some(token) if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return refused(format!("{TOKEN} must have {SHORTEST} or more letters and digits"));
            }
            Some(token) => console = console.token(token),
            None if !self.listen.ip().is_loopback() => {
                return refused(format!("{} is not this machine's own: set {TOKEN}", self.listen));
            }
            None => {}
        }
        let listener = TcpListener::bind(self.listen).await;
        let listener = listener
            .map_err(|error| std::io::Error::new(error.kind(), format!("listening on {}: {error}", self.listen)))?;
        eprintln!("the console is at http://{}", listener.local_addr()?);
        console.serve(listener, stop).await
    }
}
