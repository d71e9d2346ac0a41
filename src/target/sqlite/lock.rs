//! The lock that keeps a second run out: a file beside the database, locked by the operating system, which lets go of
//! it when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::connection::{cannot_open, resolve};
use crate::error::{Error, Kind, Result};
use crate::target::TargetLock;

/// How often a lock that is taken is tried again.
const POLL: Duration = Duration::from_millis(30);

/// The lock, held. Closing the file lets go of it; the file itself stays, because deleting it would let two runs lock
/// two files of one name.
pub(super) struct FileLock(#[expect(dead_code, reason = "held for its lock")] File);

#[async_trait]
impl TargetLock for FileLock {
    async fn release(self: Box<Self>) {}
}

fn lock_path(target: &Path) -> Result<PathBuf> {
    let mut name = resolve(target)?.into_os_string();
    name.push("-data-sync.lock");
    Ok(PathBuf::from(name))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Opens the lock file, made where it is missing: for those who may use the database, as SQLite does it with the files
/// beside it, or for its owner alone while there is none.
fn open_or_create(path: &Path, target: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            #[cfg(unix)]
            if let Ok(database) = target.metadata() {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = database.permissions().mode() & 0o666 | 0o600;
                file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path),
        Err(error) => Err(error),
    }
}

/// Waits up to `wait` for the lock of the database at `target`.
pub(super) async fn acquire(target: &Path, wait: Duration) -> Result<FileLock> {
    let path = lock_path(target)?;
    let failed = |error: io::Error| {
        cannot_open(target).because(format!("the lock file {} can't be used: {error}", path.display()))
    };
    let file = open_or_create(&path, target).map_err(failed)?;
    let end = Instant::now() + wait;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(FileLock(file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        tries += 1;
        // Somebody who only asks whether it is locked holds it for a moment: one refusal proves nothing.
        if tries > 1 && Instant::now() >= end {
            return Err(Error::new(Kind::TargetBusy, "Another sync is writing to this database").because(format!(
                "{} is locked after a wait of {} s: run again when the other one has ended",
                path.display(),
                wait.as_secs_f64()
            )));
        }
        sleep(POLL).await;
    }
}

/// Whether somebody holds the lock of the database at `target` now.
pub(super) fn is_held(target: &Path) -> bool {
    lock_path(target)
        .ok()
        .and_then(|path| open(&path).ok())
        .is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
