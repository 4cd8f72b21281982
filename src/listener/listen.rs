//! Listening on one address for both address families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted, within the kernel's own limit.
const BACKLOG: u32 = 4096;

/// Listens on `address`; must be called inside a runtime. `[::]` accepts connections over IPv4 and IPv6, whatever the
/// kernel's default is (`bindv6only`); where IPv6 is off, it means `0.0.0.0`.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error) if is_any_v6(address) && lacks_family(&error) => {
            tracing::info!(%address, %error, "IPv6 is off: listening for IPv4 only");
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else the bind fails while connections of an earlier process are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if is_any_v6(address) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// Whether the machine lacks the family: its kernel was compiled or started without it, or has it disabled.
fn lacks_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let families = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    Errno::from_io_error(error).is_some_and(|errno| families.contains(&errno))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn any_address_takes_both_families_and_a_single_one_its_own() {
        let both = listen("[::]:0".parse().unwrap()).unwrap();
        let port = both.local_addr().unwrap().port();
        for host in ["127.0.0.1", "::1"] {
            TcpStream::connect((host, port)).await.unwrap_or_else(|error| panic!("{host}: {error}"));
        }
        let single = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = single.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        TcpStream::connect(("::1", port)).await.unwrap_err();
    }
}
