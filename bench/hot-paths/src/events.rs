//! The rows of bench/sources/postgresql.sql: the same columns in the same proportions, every value following from the row's
//! number. Only the digests are others, because MD5 is nothing that has to be repeated here.

/// The first instant, in microseconds since 1970: 2020-01-01.
const START: i64 = 1_577_836_800_000_000;

/// Microseconds from one row to the next.
const SPACING: i64 = 20_123_457;

/// Microseconds of thirty days, within which a row was updated.
const MONTH: u64 = 2_592_000_000_000;

const NOTES: [&str; 4] = ["Grüße aus Köln", "東京で確認済み", "Livré à Orléans", "🚚 доставлено"];

/// One row.
#[derive(Debug, Clone)]
pub struct Event {
    /// The key.
    pub id: i64,
    /// An integer of either sign.
    pub quantity: i32,
    /// A short text.
    pub title: String,
    /// A longer one.
    pub body: String,
    /// A price in hundredths, below 10^11.
    pub cents: u64,
    /// True or false.
    pub active: bool,
    /// What is in the document.
    pub details: Details,
    /// A UUID.
    pub reference: [u8; 16],
    /// Text beyond ASCII; none in every fourth row.
    pub note: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// The document of a row.
#[derive(Debug, Clone)]
pub struct Details {
    /// True or false.
    pub ok: bool,
    /// Eight digits.
    pub kind: String,
    /// Below 10,000.
    pub size: u16,
    /// Two words.
    pub tags: [String; 2],
}

impl Details {
    /// The document as PostgreSQL spells it.
    pub fn text(&self) -> String {
        let Self { ok, kind, size, tags: [first, second] } = self;
        format!(r#"{{"ok": {ok}, "kind": "{kind}", "size": {size}, "tags": ["{first}", "{second}"]}}"#)
    }
}

/// The first `count` rows.
pub fn events(count: u64) -> Vec<Event> {
    (1..=count).map(event).collect()
}

fn event(id: u64) -> Event {
    let (high, low) = (mixed(id), mixed(!id));
    let digest = format!("{high:016x}{low:016x}");
    let h = high >> 4;
    let number = id.cast_signed();
    let created_at = START + number * SPACING;
    Event {
        id: number,
        quantity: i32::try_from(h & 1_048_575).unwrap_or(0) - 524_288,
        title: format!("Event {} of day {}", &digest[..12], id % 366),
        body: format!("Moved from {} to {}", &digest[4..20], &digest[1..17]),
        cents: h % 100_000_000_000,
        active: !h.is_multiple_of(3),
        details: Details {
            ok: h.is_multiple_of(2),
            kind: digest[8..16].to_owned(),
            size: u16::try_from(h % 10_000).unwrap_or(0),
            tags: ["new".to_owned(), digest[2..14].to_owned()],
        },
        reference: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
        note: (!id.is_multiple_of(4)).then(|| format!("{} {}", NOTES[(h % 4) as usize], id % 1000)),
        created_at,
        updated_at: created_at + (h % MONTH).cast_signed(),
    }
}

/// A number that looks like chance and follows from `value` (SplitMix64).
const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
