//! Whom to trust with TLS.

use std::path::Path;

use crate::error::{Error, Kind, Result};

/// Reads the file of authorities to trust that the option `ca_cert` names.
///
/// # Errors
/// `CONFIG` when there is none, or no certificate in it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let unusable = |why: String| {
        Error::new(Kind::Config, format!("source.ca_cert '{}' can't be used", path.display()))
            .because(format!("{why}; give the path of a PEM file with the authorities to trust"))
    };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    if pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        Ok(pem)
    } else {
        Err(unusable("it holds no certificate".to_owned()))
    }
}

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
