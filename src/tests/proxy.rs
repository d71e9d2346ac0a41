//! A small TCP proxy that breaks connections on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A proxy in front of one server.
pub struct Proxy {
    /// Its address.
    pub port: u16,
    faults: Arc<Faults>,
    accepting: JoinHandle<()>,
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It is closed in good order, in the middle of an answer.
    Close,
    /// It is reset.
    Reset,
    /// It stays open, and nothing comes any more.
    Stall,
    /// It goes on after a while.
    Delay,
    /// Some bytes come twice, which no network does, but a broken machine between may.
    Repeat,
}

struct Faults {
    /// A `Break` by its number.
    how: AtomicU8,
    /// How many bytes of the server's answers a connection lets through before it breaks; negative for all.
    cut_after: AtomicI64,
    /// How many connections are to break so.
    cuts_left: AtomicUsize,
    cuts_done: AtomicUsize,
}

impl Proxy {
    /// A proxy to `upstream` that breaks nothing yet.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults {
            how: AtomicU8::new(0),
            cut_after: AtomicI64::new(-1),
            cuts_left: AtomicUsize::new(0),
            cuts_done: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&faults);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (faults, upstream) = (Arc::clone(&shared), upstream.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(upstream).await {
                        relay(client, server, &faults).await;
                    }
                });
            }
        });
        Self { port, faults, accepting }
    }

    /// Breaks each of the next `times` connections that get so far, after `bytes` of the server's answers.
    pub fn cut(&self, how: Break, bytes: i64, times: usize) {
        self.faults.how.store(how as u8, Ordering::SeqCst);
        self.faults.cut_after.store(bytes, Ordering::SeqCst);
        self.faults.cuts_left.store(times, Ordering::SeqCst);
    }

    /// How many connections were broken.
    pub fn cuts(&self) -> usize {
        self.faults.cuts_done.load(Ordering::SeqCst)
    }

    /// Refuses connections from now on.
    pub async fn refuse(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}

async fn relay(client: TcpStream, server: TcpStream, faults: &Faults) {
    let how = faults.how.load(Ordering::SeqCst);
    if how == Break::Reset as u8 {
        // Whatever is closed with this is reset.
        client.set_zero_linger().unwrap();
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut passed = 0_i64;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
        passed += i64::try_from(count).unwrap();
        let limit = faults.cut_after.load(Ordering::SeqCst);
        let may_cut = limit >= 0 && passed > limit;
        let take = |left: usize| left.checked_sub(1);
        if may_cut && faults.cuts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            let rest = usize::try_from(i64::try_from(count).unwrap() - (passed - limit)).unwrap_or(0);
            let _ = to_client.write_all(&buffer[..rest]).await;
            faults.cuts_done.fetch_add(1, Ordering::SeqCst);
            if how == Break::Stall as u8 {
                tokio::time::sleep(Duration::from_mins(10)).await;
            }
            if how != Break::Delay as u8 && how != Break::Repeat as u8 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let from = if how == Break::Repeat as u8 { rest.saturating_sub(fastrand::usize(1..200)) } else { rest };
            if to_client.write_all(&buffer[from..count]).await.is_err() {
                break;
            }
            continue;
        }
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    up.abort();
}
