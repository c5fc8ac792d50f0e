//! The few requests that the management plugin answers in milliseconds, where `rabbitmqctl` takes
//! half a second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::endpoint::{Endpoint, USER};
use crate::error::{Context, Error, Result};

const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(20);

/// Sends one request and returns the body of a successful answer.
pub(super) async fn request(
    endpoint: &Endpoint,
    method: &'static str,
    path: String,
    body: String,
) -> Result<String> {
    let endpoint = endpoint.clone();
    let sending = move || request_blocking(&endpoint, method, &path, &body, ANSWER);
    tokio::task::spawn_blocking(sending).await.context("management request")?
}

/// As [`request`], on the calling thread, each read and write within `bound`.
pub(super) fn request_blocking(
    endpoint: &Endpoint,
    method: &str,
    path: &str,
    body: &str,
    bound: Duration,
) -> Result<String> {
    let doing = format!("{method} {path}");
    let answer = exchange(endpoint, &message(endpoint, method, path, body), bound);
    let answer = answer.context(&doing)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(body.to_owned()),
        _ => Err(Error::new(format!("{doing}: {} {body}", head.lines().next().unwrap_or("")))),
    }
}

/// HTTP/1.0, so that the answer ends with the connection and is never chunked.
fn message(endpoint: &Endpoint, method: &str, path: &str, body: &str) -> String {
    let credentials = base64(format!("{USER}:{}", endpoint.password).as_bytes());
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn exchange(endpoint: &Endpoint, message: &str, bound: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&endpoint.http(), CONNECT)?;
    stream.set_read_timeout(Some(bound))?;
    stream.set_write_timeout(Some(bound))?;
    stream.write_all(message.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let used = digit <= group.len();
            text.push(if used { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    }
}
