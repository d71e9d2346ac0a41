//! One error type for the whole crate: what went wrong ([`Kind`]), in the user's words, and the cause below it.
//!
//! The kind alone decides the public code; the kind and [`Error::transient`] decide whether a run tries again.
//! Neither the message nor the cause may hold a secret, a connection string with credentials, or a row value.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was. Each kind has one public code, see [`Kind::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The configuration (options, environment, wrangler file) can't be used.
    Config,
    /// The source could not be reached.
    Connect,
    /// The source or the target refused the credentials.
    Auth,
    /// A table named by the user is not in the source.
    TableNotFound,
    /// A type override names something impossible.
    TypeMap,
    /// The shape of a table at one side doesn't allow what was asked.
    Schema,
    /// Reading from the source failed.
    SourceRead,
    /// Writing to the target failed.
    TargetWrite,
    /// Somebody else holds the target.
    TargetBusy,
    /// The source asks to come back later.
    RateLimited,
    /// The target's state belongs to another source.
    SourceChanged,
    /// A reconcile would delete a larger share of a table than allowed.
    DeleteLimit,
    /// The plugin is switched off by `enabled: false`.
    SyncDisabled,
    /// The caller's `AbortSignal` ended the call.
    Aborted,
    /// The plugin was stopped while the call was waiting or running.
    Closed,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// The public code, as users see it in `error.code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Config => "CONFIG",
            Self::Connect => "CONNECT",
            Self::Auth => "AUTH",
            Self::TableNotFound => "TABLE_NOT_FOUND",
            Self::TypeMap => "TYPE_MAP",
            Self::Schema => "SCHEMA",
            Self::SourceRead => "SOURCE_READ",
            Self::TargetWrite => "TARGET_WRITE",
            Self::TargetBusy => "TARGET_BUSY",
            Self::RateLimited => "RATE_LIMITED",
            Self::SourceChanged => "SOURCE_CHANGED",
            Self::DeleteLimit => "DELETE_LIMIT",
            Self::SyncDisabled => "SYNC_DISABLED",
            Self::Aborted => "ABORTED",
            Self::Closed => "CLOSED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether a failure of this kind passes by itself unless the place that made it says otherwise.
    const fn usually_transient(self) -> bool {
        matches!(self, Self::Connect | Self::TargetBusy | Self::RateLimited)
    }

    /// Whether the run as a whole ends with it, instead of only the table at hand.
    pub const fn ends_run(self) -> bool {
        matches!(
            self,
            Self::Config
                | Self::Connect
                | Self::Auth
                | Self::TargetBusy
                | Self::RateLimited
                | Self::SourceChanged
                | Self::Aborted
                | Self::Closed
        )
    }
}

/// A failure: its kind, the message in the user's words, and the cause.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    context: String,
    cause: Option<String>,
    table: Option<String>,
    transient: bool,
    reshaped: bool,
    wait: Option<Duration>,
}

impl Error {
    /// A failure of `kind`; `context` is a sentence for the user without a full stop.
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            cause: None,
            table: None,
            transient: kind.usually_transient(),
            reshaped: false,
            wait: None,
        }
    }

    /// A scan met a value that the table as it was described has no place for: a larger number, another type, a new field.
    /// What the scan gave before it is good; the source knows the value now, and `describe` tells the table's new shape.
    pub fn reshaped(table: &str) -> Self {
        let error = Self::new(Kind::Schema, format!("The rows of table '{table}' outgrew its columns"));
        Self { reshaped: true, ..error.in_table(table) }
    }

    /// Adds what happened below. The text must be free of secrets and row values.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(printable(&cause.to_string()).into_owned());
        self
    }

    /// Says how long to wait before trying again, where the other side told it.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// How long to wait before trying again, where the other side told it.
    pub const fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Says whether trying again may help, where the kind alone doesn't decide it.
    #[must_use]
    pub const fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// Names the table (as the user names it) the failure belongs to; the innermost name stays.
    #[must_use]
    pub fn in_table(mut self, table: &str) -> Self {
        self.table.get_or_insert_with(|| table.to_owned());
        self
    }

    /// The kind of failure.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The public code.
    pub const fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// What happened below, if anything did.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The table it belongs to, if it belongs to one.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// Whether the table has to be described and planned anew (see [`Error::reshaped`]).
    pub const fn is_reshaped(&self) -> bool {
        self.reshaped
    }

    /// Whether the same call may succeed later without any change by the user.
    pub const fn is_transient(&self) -> bool {
        self.transient
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.context))?;
        match self.cause() {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

/// The most characters of a text that is shown to people.
const MOST_SHOWN: usize = 2_000;

/// What is shown of a text that others have a part in, such as a name at the source: on one line, without anything that a
/// terminal takes for a command, and not without end.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= MOST_SHOWN && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(MOST_SHOWN);
    for sign in text.chars().take(MOST_SHOWN) {
        if sign.is_control() {
            shown.extend(sign.escape_default());
        } else {
            shown.push(sign);
        }
    }
    let rest = text.chars().skip(MOST_SHOWN).count();
    if rest > 0 {
        // Writing to a string can't fail.
        let _ = write!(shown, "… ({rest} more characters)");
    }
    Cow::Owned(shown)
}

impl std::error::Error for Error {}

/// What a panic said where its words are fixed. Others are made of what was at hand (a text that was cut, bytes that are no
/// text), which may be a row's value.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &'static str {
    panic.downcast_ref::<&'static str>().copied().unwrap_or("a panic whose words may hold a value, and are left out")
}

/// Has panics say on stderr where they happened, and no more of their words than [`panic_text`] does.
#[cfg(feature = "napi")]
pub(crate) fn hush_panics() {
    use std::io::Write as _;
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload().downcast_ref::<&str>().copied().unwrap_or("its words may hold a value");
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        // Without a stderr there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "Data Sync Plugin: a panic at {place}: {said}{trace}");
    }));
}
