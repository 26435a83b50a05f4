//! TLS: which servers are trusted, by `sslmode` and `sslrootcert`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use message_store::postgres::PostgresStore;
use message_store::{Append, Error, Json, MessageStore as _, NewMessage, StreamName};
use message_store_tests::postgres::{LocalServer, Purpose, servers_are_left_out};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const NAME: &str = "db.example.com";

/// An authority for certificates, and its own certificate as PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a host and its key, as PEM.
    fn sign(&self, host: &str, is_expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        if is_expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Scene {
    server: LocalServer,
    authority: Authority,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let server = LocalServer::start(Purpose::Tests).await.unwrap();
        let (authority, folder) = (Authority::new("ours"), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("root.crt"), &authority.pem).unwrap();
        Self { server, authority, folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    async fn administrator(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(self.server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The server has this certificate from now on.
    async fn serve(&self, (certificate, key): &(String, String)) {
        self.server.set_certificate(certificate, key).unwrap();
        let client = self.administrator().await;
        client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let serves = async || {
            let row = self.administrator().await.query_one("SHOW ssl", &[]).await.unwrap();
            row.get::<_, String>(0) == "on"
        };
        while !serves().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // A session that begins after the reload shows the new certificate, and one before it may not.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    /// Opens the store at a distant name, with these parameters of the URL.
    async fn open(&self, parameters: &str) -> Result<PostgresStore, Error> {
        let config: tokio_postgres::Config = self.server.url().parse().unwrap();
        let port = config.get_ports()[0];
        let url = format!("postgres://postgres@{NAME}:{port}/postgres?hostaddr=127.0.0.1");
        PostgresStore::open(&format!("{url}{parameters}")).await
    }

    /// Returns whether the connections of the store are encrypted.
    async fn is_encrypted(&self, parameters: &str) -> bool {
        let store = self.open(parameters).await.unwrap();
        let append = Append::to(StreamName::new("account-1").unwrap());
        store.append(append.message(NewMessage::new("Opened", Json::NULL)).into()).await.unwrap();
        let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                   WHERE application_name = 'message-store'";
        self.administrator().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn refusal(&self, parameters: &str) -> String {
        self.open(parameters).await.unwrap_err().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_is_trusted_as_sslmode_says() {
    if servers_are_left_out() {
        return;
    }
    let scene = Scene::new().await;
    let root = format!("&sslrootcert={}", scene.root().display());

    // The server cannot encrypt.
    let refused = scene.refusal(&root).await;
    assert!(refused.contains("server does not support TLS"), "{refused}");
    assert!(!scene.is_encrypted("&sslmode=prefer").await);
    assert!(!scene.is_encrypted("&sslmode=disable").await);

    // The right certificate.
    scene.serve(&scene.authority.sign(NAME, false)).await;
    for parameters in ["", "&sslmode=verify-full", "&sslmode=verify-ca", "&sslmode=require"] {
        assert!(scene.is_encrypted(&format!("{parameters}{root}")).await, "{parameters}");
    }
    assert!(scene.is_encrypted("&sslmode=require").await);
    assert!(scene.is_encrypted("&sslmode=prefer").await);
    assert!(!scene.is_encrypted("&sslmode=disable").await);
    // Without sslrootcert, the system does not know the authority.
    let refused = scene.refusal("").await;
    assert!(refused.contains("UnknownIssuer") || refused.contains("no trusted certificates"), "{refused}");

    // A certificate for another host.
    scene.serve(&scene.authority.sign("other.example.com", false)).await;
    for parameters in ["", "&sslmode=verify-full"] {
        let refused = scene.refusal(&format!("{parameters}{root}")).await;
        assert!(refused.contains("not valid for name") && refused.contains(NAME), "{refused}");
    }
    assert!(scene.is_encrypted(&format!("&sslmode=verify-ca{root}")).await);
    assert!(scene.is_encrypted("&sslmode=require").await);

    // An expired certificate.
    scene.serve(&scene.authority.sign(NAME, true)).await;
    for parameters in ["", "&sslmode=verify-ca", "&sslmode=require"] {
        let refused = scene.refusal(&format!("{parameters}{root}")).await;
        assert!(refused.to_lowercase().contains("expired"), "{refused}");
    }

    // A certificate of another authority.
    scene.serve(&Authority::new("another").sign(NAME, false)).await;
    for parameters in ["", "&sslmode=verify-ca", "&sslmode=require"] {
        let refused = scene.refusal(&format!("{parameters}{root}")).await;
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
    assert!(scene.is_encrypted("&sslmode=require").await);
    let missing = scene.refusal("&sslrootcert=/no/such/file").await;
    assert!(missing.contains("/no/such/file"), "{missing}");
    scene.server.stop().unwrap();
}
