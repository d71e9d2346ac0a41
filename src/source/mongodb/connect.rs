//! From a connection string to a client that answers.

use std::io;
use std::time::Duration;

use futures_util::future::select_ok;
use mongodb::options::{ClientOptions, ConnectionString, HostInfo, ServerAddress};
use mongodb::{Client, Database};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::peer::{Peer, connect_timeout};

/// What the server shows of us in its logs.
const APPLICATION: &str = "data-sync";

/// Where MongoDB listens unless told otherwise.
const PORT: u16 = 27_017;

/// A server, or a set of them, as a connection string names it.
#[derive(Debug)]
pub struct Server {
    uri: Secret,
    /// The first of them, for messages.
    pub peer: Peer,
    /// The database to read.
    pub database: String,
}

impl Server {
    /// Reads a connection string; looks no name up.
    ///
    /// # Errors
    /// `CONFIG` when it can't be used, or names no database.
    pub fn new(uri: &Secret) -> Result<Self> {
        let parsed = ConnectionString::parse(&uri.0).map_err(|fault| error::unusable(&fault, &uri.0))?;
        let Some(database) = parsed.default_database else {
            return Err(Error::new(Kind::Config, "The MongoDB connection string names no database")
                .because("add it behind the host, as in mongodb://host:27017/shop"));
        };
        let user = parsed.credential.and_then(|credential| credential.username).unwrap_or_default();
        let peer = match parsed.host_info {
            HostInfo::HostIdentifiers(hosts) => peer_of(hosts.first(), user),
            HostInfo::DnsRecord(host) => Peer { host, port: None, user },
            _ => peer_of(None, user),
        };
        Ok(Self { uri: uri.clone(), peer, database })
    }

    /// A new client for the database, of which nothing is known yet but that one of its servers accepts connections.
    ///
    /// # Errors
    /// `CONNECT` with the network's own reason, which the driver would take the whole of `limit` to find.
    pub async fn client(&self, limit: Duration) -> Result<Database> {
        let parsed = timeout(limit, ClientOptions::parse(self.uri.0.as_str()));
        let mut options = parsed
            .await
            .map_err(|_| connect_timeout(&self.peer))?
            .map_err(|fault| error::unusable(&fault, &self.uri.0))?;
        timeout(limit, reach(&options.hosts))
            .await
            .map_err(|_| connect_timeout(&self.peer))?
            .map_err(|fault| error::unreachable_by(&fault, &self.peer))?;
        options.app_name.get_or_insert_with(|| APPLICATION.to_owned());
        options.server_selection_timeout = Some(limit);
        options.connect_timeout = Some(limit);
        let client = Client::with_options(options).map_err(|fault| error::unusable(&fault, &self.uri.0))?;
        Ok(client.database(&self.database))
    }
}

fn peer_of(host: Option<&ServerAddress>, user: String) -> Peer {
    match host {
        Some(ServerAddress::Tcp { host, port }) => Peer { host: host.clone(), port: Some(port.unwrap_or(PORT)), user },
        #[cfg(unix)]
        Some(ServerAddress::Unix { path }) => Peer { host: path.display().to_string(), port: None, user },
        _ => Peer { host: "localhost".to_owned(), port: Some(PORT), user },
    }
}

/// Whether one of `hosts` accepts a connection; one's reason when none does. All are asked at once: one that is off answers
/// nothing at all.
async fn reach(hosts: &[ServerAddress]) -> io::Result<()> {
    let knock = async |host: &ServerAddress| {
        let ServerAddress::Tcp { host, port } = host else { return Ok(()) };
        TcpStream::connect((host.trim_matches(['[', ']']), port.unwrap_or(PORT))).await.map(drop)
    };
    if hosts.is_empty() {
        return Ok(());
    }
    select_ok(hosts.iter().map(|host| Box::pin(knock(host)))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    /// A listener whose queue is full leaves whoever comes without an answer, as a machine does that is off.
    #[tokio::test]
    async fn a_host_that_is_off_hides_no_other() {
        let address = |port| ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(port) };
        let listen = |backlog| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(backlog).unwrap();
            (listener.local_addr().unwrap().port(), listener)
        };
        let (off, _keeps_off) = listen(1);
        let mut queue = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(("127.0.0.1", off))).await {
            queue.push(stream.unwrap());
        }
        let (on, keeps_on) = listen(8);
        timeout(Duration::from_secs(1), reach(&[address(off), address(on)])).await.unwrap().unwrap();
        drop(keeps_on);
        let refused = timeout(Duration::from_secs(1), reach(&[address(on)])).await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
