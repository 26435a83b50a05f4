//! A server in a container.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use super::IMAGE;
use super::server::wait_until_ready;

const PASSWORD: &str = "postgres";
/// The label of each container that tests start. Its value is the id of the process that started it.
const LABEL: &str = "message-store-tests";

/// A container with PostgreSQL.
#[derive(Debug)]
pub struct DockerServer {
    container: ContainerAsync<GenericImage>,
    image: String,
    url: String,
}

impl DockerServer {
    pub(super) async fn start() -> Result<Self> {
        sweep().await.context("there is no Docker")?;
        let image = std::env::var(IMAGE).unwrap_or_else(|_| "postgres:17".to_owned());
        let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
        let container = GenericImage::new(name, tag)
            .with_exposed_port(5432.tcp())
            .with_env_var("POSTGRES_PASSWORD", PASSWORD)
            .with_label(LABEL, std::process::id().to_string())
            .with_host_config_modifier(|host| {
                // Any free port of the loopback address.
                host.publish_all_ports = Some(false);
                let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
                host.port_bindings = Some(HashMap::from([("5432/tcp".to_owned(), Some(vec![binding]))]));
            })
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

/// Removes the containers of processes that were killed.
async fn sweep() -> Result<()> {
    let docker = docker_client_instance().await?;
    let labelled = HashMap::from([("label", vec![LABEL])]);
    let ours = ListContainersOptionsBuilder::new().all(true).filters(&labelled).build();
    for container in docker.list_containers(Some(ours)).await? {
        let process = container.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let is_stale = process.is_some_and(|process| !Path::new("/proc").join(process).exists());
        if let (true, true, Some(id)) = (Path::new("/proc/self").exists(), is_stale, &container.id) {
            docker.remove_container(id, Some(RemoveContainerOptionsBuilder::new().force(true).v(true).build())).await?;
        }
    }
    Ok(())
}
