use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};

/// Below the kernel's range for outgoing connections (32768 and up). A server that is killed and
/// started again would otherwise find its port taken by some client's connection.
const RANGE: std::ops::Range<u64> = 12_000..32_000;

/// An address on loopback where nothing listens at the moment.
///
/// Another process may take it before it is used, so starting a server on it must be retried.
///
/// # Errors
///
/// When hardly any port of the range is free.
pub fn free_address() -> Result<SocketAddr> {
    let [port] = free_ports()?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// `N` different free ports.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is found: this is what makes them different.
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(N);
    for _ in 0..1_000 {
        if held.len() == N {
            break;
        }
        let port = RANGE.start + random() % (RANGE.end - RANGE.start);
        let Ok(port) = u16::try_from(port) else {
            continue;
        };
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports.try_into().map_err(|_| Error::new(format!("no {N} free ports in {RANGE:?}")))
}

/// A random name of 16 hex digits for a node, vhost, directory or throwaway password.
pub(crate) fn token() -> String {
    format!("{:016x}", random())
}

/// Each `RandomState` has keys of its own, drawn from the operating system and a counter.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_stay_out_of_the_range_of_outgoing_connections() {
        let mut ports = free_ports::<50>().unwrap();
        assert!(ports.iter().all(|port| RANGE.contains(&u64::from(*port))));
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(token(), token());
    }
}
