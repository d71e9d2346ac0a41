//! What a server's certificate has to be, by source and mode; and that a server whose certificate is refused hears nothing
//! that is meant for the right one.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::event::{Failure, RunStats};

use super::mongodb_bed;
use super::sqlite_bed::Place;
use super::world::{Recorder, handle};
use super::{mysql_bed, support};

/// What is wrong with a certificate, which otherwise is for `localhost`, of this year, and of an authority that may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    Name,
    Time,
    Authority,
}

const FLAWS: [Flaw; 4] = [Flaw::Nothing, Flaw::Name, Flaw::Time, Flaw::Authority];

/// An authority of a test's own, and one that nobody was told of.
struct Authorities {
    trusted: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authorities {
    fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let made = Self {
            trusted: authority("trusted"),
            stranger: authority("stranger"),
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(made.file(), made.trusted.pem()).unwrap();
        made
    }

    /// The file of the authority that may be trusted.
    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// How a server speaks TLS whose certificate has this flaw.
    fn server(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let name = if flaw == Flaw::Name { "elsewhere.invalid" } else { "localhost" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if flaw == Flaw::Time {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let issuer = if flaw == Flaw::Authority { &self.stranger } else { &self.trusted };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

/// How two that begin in the clear come to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// They don't: the first word is TLS already.
    AtOnce,
    /// The client asks for it.
    Postgres,
    /// The server offers it.
    Mysql,
}

/// A server that speaks TLS, with a real one behind it.
pub struct Front {
    /// Its address.
    pub port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Front {
    /// Without `tls` it says that it has none.
    pub async fn start(upstream: String, upgrade: Upgrade, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let ears = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, tls, ears) = (upstream.clone(), tls.clone(), Arc::clone(&ears));
                // A client that goes away is what half of these tests are about.
                tokio::spawn(async move { drop(serve(client, upstream, upgrade, tls, &ears).await) });
            }
        });
        Self { port, heard }
    }

    /// What clients have said to it that was meant for the server.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// How many bytes a client has said to it that were meant for the server.
    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: String,
    upgrade: Upgrade,
    tls: Option<Arc<ServerConfig>>,
    ears: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    match upgrade {
        Upgrade::AtOnce => {}
        Upgrade::Postgres => {
            client.read_exact(&mut [0; 8]).await?;
            client.write_all(if tls.is_some() { b"S" } else { b"N" }).await?;
        }
        Upgrade::Mysql => {
            let mut greeting = packet(&mut server).await?;
            if tls.is_none() {
                // The capabilities come behind the version, the connection's number, half of a challenge and a zero.
                let version = greeting[5..].iter().position(|byte| *byte == 0).unwrap();
                greeting[5 + version + 1 + 4 + 8 + 1 + 1] &= !0x08;
            }
            client.write_all(&greeting).await?;
            if tls.is_some() {
                packet(&mut client).await?;
            }
        }
    }
    match tls {
        Some(tls) => relay(TlsAcceptor::from(tls).accept(client).await?, server, ears).await,
        None => relay(client, server, ears).await,
    }
}

/// A packet of MySQL's.
async fn packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

async fn relay(
    client: impl AsyncRead + tokio::io::AsyncWrite,
    server: TcpStream,
    ears: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                return io::Result::Ok(());
            }
            ears.lock().unwrap().extend_from_slice(&buffer[..count]);
            to_server.write_all(&buffer[..count]).await?;
        }
    };
    let down = async { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) };
    tokio::select! {
        done = up => done,
        done = down => done,
    }
}

/// One run from `source`.
async fn attempt(source: &Value) -> Result<RunStats, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let options = json!({
        "source": source,
        "database": directory.path().join("replica.sqlite"),
        "retry": { "attempts": 1 },
        "connect_timeout": 3,
    });
    let sync = handle(&options, Arc::<Recorder>::default());
    let outcome = sync.sync(None, CancellationToken::new()).await;
    sync.stop().await;
    outcome
}

fn assert_refused(failure: &Failure, what: &str) {
    assert_eq!((failure.first.code, failure.first.retryable), ("CONNECT", false), "{what}: {failure:?}");
    for part in ["Failed to connect to external database: ", "TLS with localhost:", "; check "] {
        assert!(failure.first.message.contains(part), "{what}: {failure:?}");
    }
}

/// By `ssl`, and whether `ca_cert` is given: whom the mode lets in.
const MODES: [(Option<&str>, bool, &[Flaw]); 7] = [
    (Some("verify-full"), true, &[Flaw::Nothing]),
    (Some("verify-full"), false, &[]),
    (Some("require"), true, &[Flaw::Nothing, Flaw::Name]),
    (Some("require"), false, &FLAWS),
    (Some("prefer"), false, &FLAWS),
    (None, true, &FLAWS),
    (None, false, &FLAWS),
];

/// `address` is the real server's, in parts.
async fn modes_are_kept(kind: &str, upgrade: Upgrade, address: &url::Url) {
    let authorities = Authorities::new();
    let upstream = format!("127.0.0.1:{}", address.port().unwrap());
    let source = |port: u16, ssl: Option<&str>, has_ca: bool| {
        json!({
            "type": kind, "host": "localhost", "port": port, "ssl": ssl,
            "user": address.username(), "password": address.password(),
            "database": address.path().trim_start_matches('/'),
            "ca_cert": has_ca.then(|| authorities.file()),
        })
    };
    for flaw in FLAWS {
        for (ssl, has_ca, admitted) in MODES {
            let front = Front::start(upstream.clone(), upgrade, Some(authorities.server(flaw))).await;
            let what = format!("{kind}, {ssl:?}, ca_cert: {has_ca}, {flaw:?}");
            let outcome = attempt(&source(front.port, ssl, has_ca)).await;
            if admitted.contains(&flaw) {
                assert!(front.heard() > 0, "{what}: {outcome:?}");
                // MySQL numbers its packets, so the real one is out of step with a client that has said one more.
                if upgrade != Upgrade::Mysql {
                    assert!(outcome.is_ok(), "{what}: {outcome:?}");
                }
            } else {
                assert_eq!(front.heard(), 0, "{what}: somebody who isn't trusted was told who we are");
                assert_refused(&outcome.unwrap_err(), &what);
            }
        }
    }
    // Who says that there is no TLS here gets no password from those who ask for it.
    for (ssl, has_ca, _) in MODES {
        let front = Front::start(upstream.clone(), upgrade, None).await;
        let outcome = attempt(&source(front.port, ssl, has_ca)).await;
        if matches!(ssl, Some("verify-full" | "require")) {
            let failure = outcome.unwrap_err();
            assert_eq!(front.heard(), 0, "{kind}, {ssl:?}: the password went without TLS");
            assert_refused(&failure, kind);
        } else {
            assert!(outcome.is_ok(), "{kind}, {ssl:?}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
        modes_are_kept("postgresql", Upgrade::Postgres, &database.url.parse().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    for database in mysql_bed::databases().await {
        let mut connection = mysql_bed::connect(&database.url).await;
        mysql_bed::run(&mut connection, "CREATE TABLE t (id int PRIMARY KEY)").await;
        modes_are_kept("mysql", Upgrade::Mysql, &database.url.parse().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb() {
    let authorities = Authorities::new();
    let server = mongodb_bed::servers().remove(0);
    let test = mongodb_bed::TestDatabase::new(&server).await;
    test.database.collection("t").insert_one(mongodb::bson::doc! { "n": 1 }).await.unwrap();
    let address: url::Url = test.uri.parse().unwrap();
    let upstream = format!("127.0.0.1:{}", address.port().unwrap());
    let trusting = format!("tls=true&tlsCAFile={}", authorities.file().display());
    let modes: [(&str, &[Flaw]); 3] =
        [(&trusting, &[Flaw::Nothing]), ("tls=true", &[]), ("tls=true&tlsAllowInvalidCertificates=true", &FLAWS)];
    for flaw in FLAWS {
        for (mode, admitted) in modes {
            let front = Front::start(upstream.clone(), Upgrade::AtOnce, Some(authorities.server(flaw))).await;
            let uri = format!("mongodb://localhost:{}{}?directConnection=true&{mode}", front.port, address.path());
            let outcome = attempt(&json!({ "type": "mongodb", "uri": uri })).await;
            let what = format!("{mode}, {flaw:?}");
            if admitted.contains(&flaw) {
                assert!(outcome.is_ok(), "{what}: {outcome:?}");
            } else {
                assert_eq!(front.heard(), 0, "{what}: somebody who isn't trusted was asked");
                assert_refused(&outcome.unwrap_err(), &what);
            }
        }
    }
    test.database.drop().await.unwrap();
}

/// Whoever runs into the driver's limit and ours at about the same time reads why all the same: of so many at once, some do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_has_the_time_to_tell() {
    let authorities = Authorities::new();
    let server = mongodb_bed::servers().remove(0);
    let address: url::Url = server.parse().unwrap();
    let upstream = format!("127.0.0.1:{}", address.port().unwrap());
    let front = Front::start(upstream, Upgrade::AtOnce, Some(authorities.server(Flaw::Authority))).await;
    let uri = format!("mongodb://localhost:{}/app?directConnection=true&tls=true", front.port);
    let source = json!({ "type": "mongodb", "uri": uri });
    for outcome in futures_util::future::join_all((0..100).map(|_| attempt(&source))).await {
        assert_refused(&outcome.unwrap_err(), "one of many");
    }
}

/// The sources that are asked over HTTP trust the built-in authorities, and those that Node.js was told of when it started:
/// so each attempt is a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http() {
    let authorities = Authorities::new();
    for place in [Place::turso().await, Place::d1().await, Place::starbasedb()] {
        place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
        let mut source = place.source();
        let kind = source["type"].as_str().unwrap().to_owned();
        if kind == "turso" {
            source["token"] = json!("a-token");
        }
        let option = if source["uri"].is_string() { "uri" } else { "url" };
        let plain: url::Url = source[option].as_str().unwrap().parse().unwrap();
        let upstream = format!("127.0.0.1:{}", plain.port().unwrap());
        for flaw in FLAWS {
            for trusted in [true, false] {
                let front = Front::start(upstream.clone(), Upgrade::AtOnce, Some(authorities.server(flaw))).await;
                source[option] = json!(format!("https://localhost:{}{}", front.port, plain.path()));
                let directory = tempfile::tempdir().unwrap();
                let database = directory.path().join("replica.sqlite");
                let options = json!({ "source": source, "database": database, "retry": { "attempts": 1 } });
                let file = authorities.file();
                let succeeds = super::crash::run_elsewhere(&options, trusted.then(|| file.to_str().unwrap()));
                let what = format!("{kind}, trusted: {trusted}, {flaw:?}");
                assert_eq!(succeeds, trusted && flaw == Flaw::Nothing, "{what}");
                assert_eq!(front.heard() > 0, succeeds, "{what}: somebody who isn't trusted was asked");
                if !trusted {
                    assert_refused(&attempt(&source).await.unwrap_err(), &what);
                }
            }
        }
    }
}
