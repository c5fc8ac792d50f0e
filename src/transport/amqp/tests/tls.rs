use std::path::PathBuf;

use hmac_propagator_support::{PrivateBroker, Scratch};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::broker::{ClientCertificate, TlsOptions};

/// A certificate authority, and the files that it issued.
struct Authority {
    scratch: Scratch,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Issuer and subject of the others must differ, or they count as self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(scratch.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { scratch, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn issue(&self, name: &str) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let issued = ClientCertificate {
            chain_file: self.file(&format!("{name}.pem")),
            key_file: self.file(&format!("{name}.key")),
        };
        std::fs::write(&issued.chain_file, certificate.pem()).unwrap();
        std::fs::write(&issued.key_file, key.serialize_pem()).unwrap();
        issued
    }

    /// A broker that speaks TLS as `localhost` to clients with a certificate from here.
    async fn broker(&self) -> (PrivateBroker, SocketAddr) {
        let address = hmac_propagator_support::free_address().unwrap();
        let server = self.issue("localhost");
        let configuration = format!(
            "listeners.ssl.1 = {address}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n",
            self.file("ca.pem").display(),
            server.chain_file.display(),
            server.key_file.display(),
        );
        (Broker::start_private_with(&configuration).await.unwrap(), address)
    }
}

async fn refusal(options: &BrokerOptions, spoil: impl FnOnce(&mut TlsOptions)) -> String {
    let mut options = options.clone();
    spoil(options.tls.as_mut().unwrap());
    let (transport, _deliveries) = start(options);
    let down = health(&transport, |health| reason(&health.publisher).is_some()).await;
    reason(&down.publisher).unwrap().to_owned()
}

#[tokio::test]
async fn both_sides_of_a_tls_connection_are_verified() {
    let authority = Authority::new();
    let (broker, address) = authority.broker().await;
    let vhost = broker.vhost().await.unwrap();
    let mut options = options(&broker, &vhost, address);
    options.host = "localhost".into();
    options.tls = Some(TlsOptions {
        ca_file: Some(authority.file("ca.pem")),
        client_certificate: Some(authority.issue("client")),
        ..TlsOptions::default()
    });
    options.validate().unwrap();

    let (transport, mut deliveries) = start(options.clone());
    health(&transport, both_up).await;
    let body = vec![b'x'; 100_000];
    transport.publish(&peer("own"), body.clone()).await.unwrap();
    let delivery = receive(&mut deliveries).await;
    assert_eq!(delivery.body, body);
    delivery.ack().await;
    transport.close(BOUND).await;

    let other = Authority::new();
    let text = refusal(&options, |tls| tls.ca_file = Some(other.file("ca.pem"))).await;
    assert!(text.starts_with("TLS: invalid peer certificate"), "{text}");
    let text = refusal(&options, |tls| tls.ca_file = None).await;
    assert!(text.starts_with("TLS: "), "{text}");
    let text = refusal(&options, |tls| tls.server_name = Some("elsewhere".into())).await;
    assert!(text.contains("not valid for name"), "{text}");
    let text = refusal(&options, |tls| tls.ca_file = Some(other.file("missing.pem"))).await;
    assert!(text.contains("missing.pem"), "{text}");
    let refused = refusal(&options, |tls| tls.client_certificate = None).await;
    assert!(!refused.is_empty());
}
