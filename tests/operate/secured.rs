//! TLS to the broker and to Redis.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::world::World;

/// Takes TLS off the line and passes the rest on. Its certificate is for `localhost`.
struct Terminator {
    address: SocketAddr,
    /// The certificate of the authority that issued it.
    ca_file: PathBuf,
}

impl Terminator {
    async fn before(world: &World, name: &str, server: SocketAddr) -> Self {
        let ca_file = world.scratch.path().join(format!("{name}-ca.pem"));
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&ca_file)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate goes away.
                    let Ok(mut inside) = acceptor.accept(stream).await else { return };
                    let mut outside = TcpStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        Self { address, ca_file }
    }
}

fn server_config(ca_file: &std::path::Path) -> ServerConfig {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Issuer and subject of the other one must differ, or it counts as self-signed.
    ca.distinguished_name.push(DnType::CommonName, "authority");
    std::fs::write(ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new(["localhost".to_owned()]).unwrap();
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let certificate = server.signed_by(&key, &issuer).unwrap();
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap()
}

#[tokio::test]
async fn a_broker_behind_tls_is_used_when_its_authority_is_trusted() {
    let mut world = World::new().await;
    let tls = Terminator::before(&world, "broker", world.broker.address()).await;
    world.set("AMQP_HOST", "localhost");
    world.set("AMQP_PORT", &tls.address.port().to_string());
    world.set("AMQP_PROTOCOL", "amqps");
    world.set("AMQP_CA_FILE", tls.ca_file.to_str().unwrap());
    world.run(&["sync"]).await.ends_with(0);
    world.set("AMQP_SERVER_NAME", "broker.example");
    let document = world.run(&["doctor", "--json"]).await.ends_with(1).json();
    let findings = document["findings"].as_array().unwrap().iter();
    let wrong: Vec<_> = findings.filter(|finding| finding["state"] == "wrong").collect();
    assert_eq!(wrong.len(), 1, "{document:#}");
    assert_eq!(wrong[0]["check"], "broker");
    assert!(wrong[0]["what"].as_str().unwrap().starts_with("TLS: "), "{document:#}");
}

#[tokio::test]
async fn a_redis_behind_tls_is_used_when_the_system_trusts_its_authority() {
    let mut world = World::new().await;
    let tls = Terminator::before(&world, "redis", world.redis.address()).await;
    world.set("REDIS_URL", &format!("rediss://localhost:{}/", tls.address.port()));
    world.run(&["ensure", "webshop", "--hide-secret"]).await.ends_with(3);
    world.set("SSL_CERT_FILE", tls.ca_file.to_str().unwrap());
    world.run(&["ensure", "webshop", "--hide-secret"]).await.ends_with(0);
}
