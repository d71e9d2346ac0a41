//! `hot-paths` tells the names of the paths, a line each; `hot-paths NAME ROWS` takes so many rows along one of them.

use std::process::ExitCode;

use hot_paths::paths::{ALL, MOST, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ALL.iter().for_each(|(name, _)| println!("{name}")),
        [name, rows] => {
            let path = ALL.iter().find(|(known, _)| *known == name);
            let rows = rows.parse().ok().filter(|rows: &usize| *rows <= MOST && rows.is_multiple_of(1000));
            let (Some((_, path)), Some(rows)) = (path, rows) else {
                eprintln!("hot-paths takes the name of a path and a number of rows: thousands, up to {MOST}");
                return ExitCode::FAILURE;
            };
            run(*path, rows);
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}
