//! The database of a StarbaseDB that `wrangler dev` runs on this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Where Wrangler keeps what its Durable Objects store, below the folder of its configuration.
const STATE: &str = ".wrangler/state/v3/do";

/// How the folder of StarbaseDB's objects ends: `<the Worker's name>-<the class>`.
const CLASS: &str = "StarbaseDBDurableObject";

/// What Wrangler keeps beside the objects' own databases.
const METADATA: &str = "metadata.sqlite";

/// The one SQLite file of a StarbaseDB below `project`, the folder of the wrangler file.
///
/// # Errors
/// `CONFIG` when there is none, or more than one.
pub(super) fn database(project: &Path) -> Result<PathBuf> {
    let state = project.join(STATE);
    let mut found: Vec<PathBuf> = entries(&state)
        .filter(|folder| folder.file_name().and_then(OsStr::to_str).is_some_and(|name| name.ends_with(CLASS)))
        .flat_map(|folder| entries(&folder).collect::<Vec<_>>())
        .filter(|file| file.extension() == Some(OsStr::new("sqlite")) && file.file_name() != Some(OsStr::new(METADATA)))
        .collect();
    found.sort();
    let state = state.display();
    match (found.pop(), found.len()) {
        (Some(file), 0) => Ok(file),
        (None, _) => Err(Error::new(
            Kind::Config,
            format!("database 'auto' found no StarbaseDB below {state}"),
        )
        .because(
            "run `npx wrangler dev` in the folder of the wrangler file and send the Worker a query, name that file with \
             config, or name the SQLite file with database",
        )),
        (Some(last), _) => {
            found.push(last);
            let names: Vec<String> = found.iter().map(|file| file.display().to_string()).collect();
            Err(Error::new(
                Kind::Config,
                format!("database 'auto' found {} StarbaseDBs below {state}", names.len()),
            )
            .because(format!("name one of them with database: {}", names.join(", "))))
        }
    }
}

/// The paths in a folder; none where it can't be read.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}
