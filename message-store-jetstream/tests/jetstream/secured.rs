//! Connections with TLS, and with a file of credentials.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use message_store::{Append, Error, Json, MessageStore as _, NewMessage, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Flush, Server};
use nkeys::KeyPair;
use serde_json::{Value, json};

async fn write_to(store: &JetstreamStore) {
    let append = Append::to(StreamName::new("account-1").unwrap()).message(NewMessage::new("Opened", Json::NULL));
    store.append(append.into()).await.unwrap();
}

#[tokio::test]
async fn a_server_with_tls_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", certificate.display(), key.display());
    let server = Server::start(Flush::Later, &tls);
    let url = |options: &str| format!("nats://{}/main{options}", server.address());
    write_to(&JetstreamStore::open(&url(&format!("?ca={}", certificate.display()))).await.unwrap()).await;
    let error = JetstreamStore::open(&url("")).await.unwrap_err();
    assert!(matches!(error, Error::Backend { .. }), "an authority that nobody knows: {error}");
    // A server without TLS.
    let plain = format!("nats://{}/main?tls=require", Server::shared().address());
    let error = JetstreamStore::open(&plain).await.unwrap_err();
    assert!(matches!(error, Error::Backend { .. }), "{error}");
}

/// A token that says `claims` of `subject`, signed by the issuer.
fn signed(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": name, "nats": nats,
    });
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encoded(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

fn account_claims() -> Value {
    let limits = json!({
        "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    json!({"limits": limits, "type": "account", "version": 2})
}

fn write_credentials(file: &Path, token: &str, user: &KeyPair) {
    let mut text = String::new();
    for (kind, content) in [("NATS USER JWT", token), ("USER NKEY SEED", &user.seed().unwrap())] {
        writeln!(text, "-----BEGIN {kind}-----\n{content}\n------END {kind}------\n").unwrap();
    }
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn a_file_with_credentials_opens_a_store() {
    let (operator, system, account) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let operator_claims = json!({"type": "operator", "version": 2, "system_account": system.public_key()});
    let of_operator = signed(&operator, &operator, "operator", &operator_claims);
    let mut system_claims = account_claims();
    for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
        system_claims["limits"].as_object_mut().unwrap().remove(limit);
    }
    let settings = format!(
        "operator: {of_operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
        system.public_key(),
        system.public_key(),
        signed(&operator, &system, "system", &system_claims),
        account.public_key(),
        signed(&operator, &account, "accounts", &account_claims()),
    );
    let server = Server::start(Flush::Later, &settings);
    let folder = tempfile::tempdir().unwrap();
    let user_claims =
        json!({"subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}, "type": "user", "version": 2});
    let user = KeyPair::new_user();
    let (known, foreign) = (folder.path().join("known.creds"), folder.path().join("foreign.creds"));
    write_credentials(&known, &signed(&account, &user, "ann", &user_claims), &user);
    let other = KeyPair::new_account();
    write_credentials(&foreign, &signed(&other, &user, "ann", &user_claims), &user);
    let url = |file: &Path| format!("nats://{}/main?credentials={}", server.address(), file.display());

    write_to(&JetstreamStore::open(&url(&known)).await.unwrap()).await;
    let error = JetstreamStore::open(&url(&foreign)).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::Backend { .. }) && !text.contains(&user.seed().unwrap()), "{text}");
    let missing = JetstreamStore::open(&url(&folder.path().join("none.creds"))).await.unwrap_err().to_string();
    assert!(missing.contains("none.creds"), "{missing}");
}
