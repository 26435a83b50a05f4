//! TLS: whether connections are encrypted, and how the server is verified. `sslmode` and `sslrootcert` mean what they
//! mean to libpq, with another default: a host that is not local is verified.
//!
//! Source: the PostgreSQL manual, "SSL Support" of libpq.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, NoTls};

use crate::{Error, Result};

/// The messages of a connection. While they are read, the connection works.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Send>>;

/// How connections are encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    Off,
    #[cfg(feature = "tls")]
    On(tokio_postgres_rustls::MakeRustlsConnect),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Off) { "Off" } else { "On" })
    }
}

/// A value of `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    /// `allow` and `prefer`: encrypted if the server can. The server is not verified.
    Prefer,
    /// Encrypted. The server is not verified, unless a root certificate is given.
    Require,
    /// Encrypted, and the certificate has a trusted authority.
    VerifyCa,
    /// As [`Mode::VerifyCa`], and the certificate is for the host.
    VerifyFull,
}

/// The parameters of a URL that the driver does not know, or knows otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    mode: Option<Mode>,
    root_certificate: Option<String>,
    /// The greatest number of connections.
    pub(super) connections: Option<usize>,
    /// Whether a pooler is between.
    pub(super) pooler: Option<bool>,
    /// Whether categories are read from a standby.
    pub(super) reads_categories_from_standby: bool,
}

impl Parameters {
    /// Takes the parameters out of a URL. The driver does not know all of them.
    pub(super) fn take_from(url: &str) -> Result<(String, Self)> {
        let mut parameters = Self::default();
        let Some((place, query)) = url.split_once('?') else { return Ok((url.to_owned(), parameters)) };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => parameters.mode = Some(mode_of(mode)?),
                Some(("sslrootcert", path)) => {
                    let path = percent_encoding::percent_decode_str(path).decode_utf8();
                    let path = path.map_err(|_| Error::invalid("store URL", "sslrootcert must be UTF-8"))?;
                    parameters.root_certificate = Some(path.into_owned());
                }
                Some(("connections", number)) => {
                    let number = number.parse().ok().filter(|number| *number >= 3);
                    let reason = || Error::invalid("store URL", "connections must be a number, and at least 3");
                    parameters.connections = Some(number.ok_or_else(reason)?);
                }
                Some(("pooler", "transaction")) => parameters.pooler = Some(true),
                Some(("pooler", "none")) => parameters.pooler = Some(false),
                Some(("pooler", _)) => {
                    return Err(Error::invalid("store URL", "pooler must be transaction or none"));
                }
                Some(("category_reads", "standby")) => parameters.reads_categories_from_standby = true,
                Some(("category_reads", "primary")) => parameters.reads_categories_from_standby = false,
                Some(("category_reads", _)) => {
                    return Err(Error::invalid("store URL", "category_reads must be standby or primary"));
                }
                Some((name @ ("sslcert" | "sslkey" | "sslpassword" | "sslcrl"), _)) => {
                    return Err(Error::invalid("store URL", format!("{name} is not supported: use a password")));
                }
                _ => rest.push(pair),
            }
        }
        let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
        Ok((url, parameters))
    }

    /// Sets the mode of the driver. A local host needs no encryption by default.
    pub(super) fn apply(&self, config: &mut Config) -> Result<Tls> {
        let default = if config.get_hosts().iter().all(is_local) { Mode::Disable } else { Mode::VerifyFull };
        self.connector(config, default)
    }

    #[cfg(not(feature = "tls"))]
    fn connector(&self, config: &mut Config, _default: Mode) -> Result<Tls> {
        match self.mode {
            None | Some(Mode::Disable | Mode::Prefer) => {
                config.ssl_mode(SslMode::Disable);
                Ok(Tls::Off)
            }
            Some(_) => Err(Error::invalid(
                "store URL",
                "an encrypted connection needs the feature `tls` of the crate message-store, or sslmode=disable",
            )),
        }
    }

    #[cfg(feature = "tls")]
    fn connector(&self, config: &mut Config, default: Mode) -> Result<Tls> {
        let (mode, driver) = match self.mode.unwrap_or(default) {
            Mode::Disable => {
                config.ssl_mode(SslMode::Disable);
                return Ok(Tls::Off);
            }
            Mode::Prefer => (Mode::Prefer, SslMode::Prefer),
            // As libpq: a root certificate is there to be used.
            Mode::Require if self.root_certificate.is_some() => (Mode::VerifyCa, SslMode::Require),
            mode => (mode, SslMode::Require),
        };
        config.ssl_mode(driver);
        let client = super::verification::client(mode == Mode::VerifyFull, self.roots(mode)?)?;
        Ok(Tls::On(tokio_postgres_rustls::MakeRustlsConnect::new(client)))
    }

    /// The trusted authorities. `None` if the server is not verified.
    #[cfg(feature = "tls")]
    fn roots(&self, mode: Mode) -> Result<Option<rustls::RootCertStore>> {
        match (mode, self.root_certificate.as_deref()) {
            (Mode::Disable | Mode::Prefer | Mode::Require, _) => Ok(None),
            (_, None | Some("system")) => super::verification::system_roots().map(Some),
            (_, Some(path)) => super::verification::roots_in(path).map(Some),
        }
    }
}

fn mode_of(mode: &str) -> Result<Mode> {
    match mode {
        "disable" => Ok(Mode::Disable),
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        other => Err(Error::invalid(
            "store URL",
            format!("sslmode is {other:?}; it may be disable, allow, prefer, require, verify-ca or verify-full"),
        )),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Whether no host of the configuration is reached over a network.
pub(super) fn is_all_local(config: &Config) -> bool {
    config.get_hosts().iter().all(is_local)
}

/// Opens a connection. The caller reads its messages.
pub(super) async fn connect(config: &Config, tls: &Tls) -> Result<(Client, Messages), tokio_postgres::Error> {
    match tls {
        Tls::Off => config.connect(NoTls).await.map(opened),
        #[cfg(feature = "tls")]
        Tls::On(tls) => config.connect(tls.clone()).await.map(opened),
    }
}

fn opened<S, T>((client, mut connection): (Client, Connection<S, T>)) -> (Client, Messages)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    (client, Box::pin(stream::poll_fn(move |context| connection.poll_message(context))))
}

/// Runs a connection until it ends.
pub(super) async fn drive(mut messages: Messages) -> Result<(), tokio_postgres::Error> {
    while let Some(message) = messages.next().await {
        message?;
    }
    Ok(())
}

/// Requests the end of a statement, over a connection of its own.
pub(super) async fn cancel(token: &CancelToken, tls: &Tls) -> Result<(), tokio_postgres::Error> {
    match tls {
        Tls::Off => token.cancel_query(NoTls).await,
        #[cfg(feature = "tls")]
        Tls::On(tls) => token.cancel_query(tls.clone()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_tls_are_taken_out_of_the_url() {
        let (url, parameters) =
            Parameters::take_from("postgres://me@db/store?sslmode=verify-ca&options=-c%20a%3D1&sslrootcert=/a%20b.crt")
                .unwrap();
        assert_eq!(url, "postgres://me@db/store?options=-c%20a%3D1");
        assert_eq!((parameters.mode, parameters.root_certificate.as_deref()), (Some(Mode::VerifyCa), Some("/a b.crt")));
        let (url, parameters) = Parameters::take_from("postgres://me@db/store?sslmode=require").unwrap();
        assert_eq!((url.as_str(), parameters.mode), ("postgres://me@db/store", Some(Mode::Require)));
        assert_eq!(Parameters::take_from("postgres://me@db/store").unwrap().0, "postgres://me@db/store");
        assert!(
            Parameters::take_from("postgres://a,b/store?category_reads=standby")
                .unwrap()
                .1
                .reads_categories_from_standby
        );
        for wrong in ["sslmode=yes", "sslmode=", "sslkey=/a", "category_reads=any"] {
            let error = Parameters::take_from(&format!("postgres://db/store?{wrong}")).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error}");
        }
    }

    #[test]
    fn loopback_addresses_and_sockets_are_local() {
        for (url, is_local) in [
            ("postgres://localhost/s", true),
            ("postgres://127.0.0.2/s", true),
            ("postgres://%2Fvar%2Frun/s", true),
            ("postgres://[::1]/s", true),
            ("postgres://db.example.com/s", false),
            ("postgres://10.0.0.1/s", false),
            ("postgres://localhost,db.example.com/s", false),
        ] {
            assert_eq!(is_all_local(&url.parse().unwrap()), is_local, "{url}");
        }
    }
}
