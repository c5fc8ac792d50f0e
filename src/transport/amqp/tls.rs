//! TLS to the broker.

use super::stream::{ByteStream, Watched};
use crate::broker::BrokerOptions;

/// Puts the stream inside TLS when the options say so.
///
/// # Errors
/// What is wrong with the files, the handshake or the broker's certificate.
#[cfg(feature = "tls")]
pub(super) async fn secure(
    stream: Watched,
    options: &BrokerOptions,
) -> Result<Box<dyn ByteStream>, String> {
    match &options.tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let name = tls.server_name.as_deref().unwrap_or(&options.host);
            let secured = with_rustls::handshake(stream, tls, name).await;
            Ok(Box::new(secured.map_err(|error| format!("TLS: {error}"))?))
        }
    }
}

/// Without the feature a stream is never in TLS; rather than in clear, it is not used at all.
#[cfg(not(feature = "tls"))]
pub(super) async fn secure(
    stream: Watched,
    options: &BrokerOptions,
) -> Result<Box<dyn ByteStream>, String> {
    match &options.tls {
        None => Ok(Box::new(stream)),
        Some(_) => Err("TLS: built without the feature `tls`".into()),
    }
}

#[cfg(feature = "tls")]
mod with_rustls {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::Watched;
    use crate::broker::TlsOptions;

    pub(super) async fn handshake(
        stream: Watched,
        options: &TlsOptions,
        name: &str,
    ) -> io::Result<TlsStream<Watched>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let options = options.clone();
        let config = tokio::task::spawn_blocking(move || configure(&options)).await??;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Reads files.
    fn configure(options: &TlsOptions) -> io::Result<ClientConfig> {
        let roots = match &options.ca_file {
            Some(file) => trust(certificates(file)?)?,
            None => trust(rustls_native_certs::load_native_certs().certs)?,
        };
        // Named here and not the process default, which belongs to the application.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let Some(own) = &options.client_certificate else {
            return Ok(config.with_no_client_auth());
        };
        let chain = certificates(&own.chain_file)?;
        let key = PrivateKeyDer::from_pem_file(&own.key_file)
            .map_err(|error| unreadable(&own.key_file, &error))?;
        config.with_client_auth_cert(chain, key).map_err(io::Error::other)
    }

    fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(file, &error))
    }

    /// Certificates that cannot be read are left out, as operating systems have them too; none left
    /// is an error.
    fn trust(certificates: Vec<CertificateDer<'static>>) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(io::Error::other("no certificate to trust was found"));
        }
        Ok(roots)
    }

    fn unreadable(file: &Path, error: &pem::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", file.display()))
    }
}
