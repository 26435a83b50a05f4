//! A server in a container.

use anyhow::{Context as _, Result};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use super::IMAGE;
use super::server::wait_until_ready;

const PASSWORD: &str = "postgres";

/// A container with PostgreSQL.
#[derive(Debug)]
pub struct DockerServer {
    container: ContainerAsync<GenericImage>,
    image: String,
    url: String,
}

impl DockerServer {
    pub(super) async fn start() -> Result<Self> {
        let image = std::env::var(IMAGE).unwrap_or_else(|_| "postgres:17".to_owned());
        let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
        let container = GenericImage::new(name, tag)
            .with_exposed_port(5432.tcp())
            .with_env_var("POSTGRES_PASSWORD", PASSWORD)
            .with_label("message-store-tests", std::process::id().to_string())
            .with_cmd(["postgres", "-c", "fsync=off", "-c", "max_connections=400"])
            .start()
            .await
            .with_context(|| format!("no container of {image} could be started"))?;
        let port = container.get_host_port_ipv4(5432.tcp()).await?;
        let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres");
        wait_until_ready(&url, || Ok(())).await?;
        Ok(Self { container, image, url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn image(&self) -> &str {
        &self.image
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.container.rm().await.context("the container could not be removed")
    }
}
