//! Connections that break in every way a network knows, for every source: whatever happens, a clear error or a retry, and
//! nothing lost.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::event::Failure;

use super::bed::{Bed, Shape};
use super::proxy::{Break, Proxy};
use super::world::{World, at, row, usual};

const WAYS: [Break; 3] = [Break::Close, Break::Reset, Break::Stall];

async fn connections_that_break(bed: Box<dyn Bed>) {
    let shape = Shape::usual("t");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..5_000).map(|i| usual(i, i, "some text", at(i))).collect::<Vec<_>>()).await;
    let (upstream, _) = bed.through(0);
    let proxy = Proxy::start(upstream).await;
    let (_, broken) = bed.through(proxy.port);
    let direct = bed.source();
    let cut_after = bed.cut_after();
    // What is merely slow must not be taken for silent.
    let patience = if bed.is_slow() { 8 } else { 1 };
    let mut world =
        World::new(bed, json!({ "batch_size": 100, "query_timeout": patience, "connect_timeout": patience }));
    world.restart(json!({ "source": broken })).await;
    // In the middle of the rows, again and again at the same length: each try goes on where the last one stopped.
    proxy.cut(Break::Close, cut_after, 6);
    let stats = world.run().await;
    assert!(proxy.cuts() >= 4, "{} cuts", proxy.cuts());
    assert_eq!(stats.rows_inserted, 5_000);
    world.assert_equal(&shape).await;
    // The same within an incremental run, and within the first words.
    for (round, (how, bytes)) in
        (1..).zip(WAYS.into_iter().flat_map(|how| [cut_after, 20, 2_000, 5_000].map(|bytes| (how, bytes))))
    {
        let base = 10_000 * round;
        let more: Vec<_> = (base..base + 1_500).map(|i| usual(i, i, "more", at(6_000 + round))).collect();
        world.bed.insert(&shape, &more).await;
        world.restart(json!({})).await;
        proxy.cut(how, bytes, if how == Break::Stall { 1 } else { 2 });
        world.run().await;
        world.assert_equal(&shape).await;
    }
    // A read that begins anew with each try, and always breaks at the same place: the tries come to an end.
    let whole = json!({ "name": "t", "mode": "full" });
    world.restart(json!({ "tables": [whole], "retry": { "attempts": 3, "base_ms": 1 } })).await;
    proxy.cut(Break::Close, cut_after, usize::MAX >> 1);
    let failure = tokio::time::timeout(Duration::from_mins(2), world.fail()).await.expect("there is an end to it");
    assert!(failure.first.retryable, "{failure:?}");
    world.restart(json!({ "tables": ["t"] })).await;
    for how in WAYS {
        proxy.cut(how, 20, usize::MAX >> 1);
        world.restart(json!({ "retry": { "attempts": 2, "base_ms": 1 } })).await;
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.retryable), ("CONNECT", true), "{how:?}: {failure:?}");
        assert!(failure.first.message.starts_with("Failed to connect to external database: "), "{failure:?}");
    }
    let port = proxy.port;
    proxy.refuse().await;
    let failure = world.fail().await;
    assert_eq!(failure.first.code, "CONNECT");
    let refused = failure.first.message.split_once("ECONNREFUSED ").expect("refused").1;
    assert!(refused.ends_with(&format!(":{port}")), "{failure:?}");
    world.restart(json!({ "source": direct, "retry": { "attempts": 5 } })).await;
    if !world.bed.moves() {
        // Another port is another source as far as anyone can tell; the way back is to start over.
        assert_eq!(world.fail().await.first.code, "SOURCE_CHANGED");
        world.sync.reset(None).await.unwrap();
    }
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

/// Rounds of breaks at random for each source, unless `DATA_SYNC_TEST_ROUNDS` says otherwise.
const ROUNDS: u64 = 12;

/// Rounds in which rows come and go, `proxy` breaks connections at random after at most `most` bytes of answers, and a run comes
/// to its end, after whose failure `check` looks at it; the next run makes the target equal.
pub async fn rounds_of_breaks(
    world: &mut World,
    shape: &Shape,
    proxy: &Proxy,
    ways: &[Break],
    most: i64,
    check: impl Fn(Break, &Failure),
) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seed = number("DATA_SYNC_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("DATA_SYNC_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut failures, mut garbled) = (0, 0);
    for round in 0..i64::try_from(number("DATA_SYNC_TEST_ROUNDS").unwrap_or(ROUNDS)).unwrap() {
        let base = 10_000 * round;
        let more: Vec<_> = (base..base + 700).map(|i| usual(i, i, "some text in a row", at(round * 5))).collect();
        world.bed.insert(shape, &more).await;
        world.bed.delete(shape, &row([("n", (base - 10_000 + random.i64(0..700)).into())])).await;
        world.restart(json!({})).await;
        let how = ways[random.usize(..ways.len())];
        proxy.cut(how, random.i64(0..most), if how == Break::Stall { 1 } else { random.usize(1..4) });
        let outcome = world.sync.sync(None, CancellationToken::new()).await;
        proxy.cut(how, 0, 0);
        if let Err(failure) = outcome {
            failures += 1;
            check(how, &failure);
        }
        garbled += usize::from(how == Break::Repeat);
        world.run().await;
        world.assert_equal(shape).await;
    }
    println!(
        "{} connections broken, {garbled} rounds with bytes that came twice, {failures} runs failed",
        proxy.cuts()
    );
}

/// Connections that break at any byte, in any way, also in ways that no network knows: whatever happens, a run comes to
/// its end, and the next one makes the target equal.
async fn connections_that_break_anywhere(bed: Box<dyn Bed>) {
    let shape = Shape::usual("t");
    bed.create(&shape).await;
    let proxy = Proxy::start(bed.through(0).0).await;
    let source = bed.through(proxy.port).1;
    let most = bed.cut_after() * 2;
    let patience = if bed.is_slow() { 8 } else { 1 };
    let mut world = World::new(
        bed,
        json!({ "source": source, "batch_size": 100, "deletes": "hard", "delete_limit": 1,
                "query_timeout": patience, "connect_timeout": patience }),
    );
    let ways = [Break::Close, Break::Reset, Break::Stall, Break::Delay, Break::Repeat];
    rounds_of_breaks(&mut world, &shape, &proxy, &ways, most, |how, failure| {
        // What a protocol cannot read is not told from a server that speaks another one.
        let known = matches!(failure.first.code, "CONNECT" | "SOURCE_READ" | "AUTH" | "SCHEMA");
        assert!(known && (failure.first.retryable || how == Break::Repeat), "{how:?}: {failure:?}");
    })
    .await;
    world.end().await;
}

macro_rules! faults {
    ($module:ident, $beds:path) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn connections_that_break() {
                for bed in $beds().await {
                    super::connections_that_break(bed).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn connections_that_break_anywhere() {
                for bed in $beds().await {
                    super::connections_that_break_anywhere(bed).await;
                }
            }
        }
    };
}

faults!(postgres, crate::tests::postgres_bed::beds);
faults!(mysql, crate::tests::mysql_bed::beds);
faults!(mongodb, crate::tests::mongodb_bed::beds);
faults!(turso, crate::tests::sqlite_bed::turso_beds);
faults!(d1, crate::tests::sqlite_bed::d1_beds);
faults!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);
