//! Just enough HTTP to ask a process on the loopback how it is.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step of a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a plain HTTP request.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code, such as 200.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// `GET http://<address><path>`, with a connection of its own.
///
/// # Errors
///
/// If nothing listens there, or nothing that speaks HTTP, or no answer comes
/// within ten seconds.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    get_within(address, path, PATIENCE)
}

/// As [`get`], with another patience for each step.
pub(crate) fn get_within(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Response> {
    // HTTP/1.0: the answer is not chunked and ends with the connection.
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), patience)
}

/// Posts JSON to `http://<address><path>`, with a connection of its own.
pub(crate) fn post(address: SocketAddr, path: &str, json: &str) -> io::Result<Response> {
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    exchange(address, &(head + json), PATIENCE)
}

fn exchange(address: SocketAddr, request: &str, patience: Duration) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_status_and_body() {
        let response = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\r\n\r\n");
        let response = response.expect("an answer");
        assert_eq!((response.status, response.body.as_str()), (503, "not yet\r\n\r\n"));
    }

    #[test]
    fn refuses_what_is_not_http() {
        assert!(parse("SSH-2.0-server\r\n\r\n").is_none());
    }
}
