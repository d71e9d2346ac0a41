//! The seeds of fuzz, and every input that it ever found a defect by, read again on a stable Rust and without fuzz itself.

use std::path::Path;

use crate::fuzz;

/// A target's name and what it feeds.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 9] = [
    ("bson", fuzz::bson),
    ("copy", fuzz::copy),
    ("d1", fuzz::d1),
    ("forms", fuzz::forms),
    ("hrana", fuzz::hrana),
    ("mysql", fuzz::mysql),
    ("options", fuzz::options),
    ("starbasedb", fuzz::starbasedb),
    ("wrangler", fuzz::wrangler),
];

#[test]
fn no_seed_shows_a_defect() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut folders: Vec<_> = seeds.read_dir().unwrap().map(|folder| folder.unwrap().file_name()).collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|(name, _)| name), "a folder per target");
    let mut defects = Vec::new();
    for (name, target) in TARGETS {
        for file in seeds.join(name).read_dir().unwrap() {
            let path = file.unwrap().path();
            let seed = std::fs::read(&path).unwrap();
            // What is cut anywhere is a seed too.
            let cuts = (0..seed.len()).step_by(1 + seed.len() / 64).chain([seed.len()]);
            let shows_a_defect = |length: usize| std::panic::catch_unwind(|| target(&seed[..length])).is_err();
            if let Some(length) = cuts.into_iter().find(|length| shows_a_defect(*length)) {
                defects.push((path, length));
            }
        }
    }
    assert!(defects.is_empty(), "{defects:#?}");
}
