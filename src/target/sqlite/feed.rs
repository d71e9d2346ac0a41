//! Batches as a table that SQL reads: `tmp_data_sync_batch`, with the columns `c0`, `c1`, ….
//!
//! One statement then takes all rows of a write, where a statement for each row would be bound, started and reset a
//! thousand times, and SQLite would copy every text twice: into the parameter, and into the row. That is a quarter of
//! the time a load takes to write. rusqlite's own frame for such tables copies each value too, so the callbacks here are
//! SQLite's (<https://www.sqlite.org/vtab.html>).
#![expect(unsafe_code, reason = "SQLite calls back by pointers")]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::rc::Rc;

use rusqlite::{Connection, ffi};

use super::ddl::{self, MAX_COLUMNS};
use crate::batch::{Batch, ValueRef};

/// The name by which SQL reads the batches.
pub(crate) const NAME: &str = "tmp_data_sync_batch";

/// The names of these columns of the batches, as a list.
pub(crate) fn columns(columns: impl IntoIterator<Item = usize>) -> String {
    ddl::join(columns, ", ", |column| format!("c{column}"))
}

/// `SQLITE_UTF8` in the type that the call takes.
const UTF8: u8 = 1;

type Batches = RefCell<Vec<Batch>>;

/// The batches that a connection's statements read.
pub(crate) struct Feed {
    batches: Rc<Batches>,
}

impl Feed {
    /// Makes [`NAME`] known to `conn`.
    pub(crate) fn new(conn: &Connection) -> rusqlite::Result<Self> {
        let batches = Rc::new(Batches::default());
        let name = CString::new(NAME)?;
        let shared = Rc::into_raw(Rc::clone(&batches)).cast_mut().cast();
        // SAFETY: the handle is open, the module lives for ever, and SQLite calls `forget` once for the share it gets, when
        // the connection closes or when this call fails.
        let code = unsafe {
            ffi::sqlite3_create_module_v2(conn.handle(), name.as_ptr(), &raw const MODULE, shared, Some(forget))
        };
        if code == ffi::SQLITE_OK {
            Ok(Self { batches })
        } else {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
        }
    }

    /// Lets statements read `batches` while `run` runs, and empties the list of them into its answer.
    ///
    /// A statement that reads them must have been reset before `run` is over: its values point into them.
    pub(crate) fn serve<T>(&self, batches: &mut Vec<Batch>, run: impl FnOnce() -> T) -> T {
        std::mem::swap(&mut *self.batches.borrow_mut(), batches);
        let outcome = run();
        std::mem::swap(&mut *self.batches.borrow_mut(), batches);
        outcome
    }
}

/// SQLite's view of the table.
#[repr(C)]
struct Table {
    base: ffi::sqlite3_vtab,
    batches: *const Batches,
}

/// Where a statement is.
#[repr(C)]
struct Cursor {
    base: ffi::sqlite3_vtab_cursor,
    batch: usize,
    row: usize,
}

impl Cursor {
    /// Moves on to the next batch that has a row left.
    fn settle(&mut self, batches: &[Batch]) {
        while batches.get(self.batch).is_some_and(|batch| !batch.has_row(self.row)) {
            self.batch += 1;
            self.row = 0;
        }
    }

    /// # Safety
    /// `self` is a cursor that SQLite holds open on a [`Table`].
    unsafe fn batches(&self) -> &Batches {
        // SAFETY: SQLite sets the pointer to the table before it uses the cursor, and keeps table and module until the
        // cursor is closed.
        unsafe { &*(*self.base.pVtab.cast::<Table>()).batches }
    }
}

static MODULE: ffi::sqlite3_module = ffi::sqlite3_module {
    iVersion: 1,
    // Without it the table is there by its name alone, and in no schema.
    xCreate: None,
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: None,
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
    xIntegrity: None,
};

// SAFETY of all below: SQLite calls them with the pointers that its documentation promises, those of tables and cursors
// being the ones that `connect` and `open` gave it. None of them panics: a panic would end the process.

unsafe extern "C" fn forget(shared: *mut c_void) {
    // SAFETY: the share that `Feed::new` gave away.
    drop(unsafe { Rc::from_raw(shared.cast_const().cast::<Batches>()) });
}

unsafe extern "C" fn connect(
    handle: *mut ffi::sqlite3,
    shared: *mut c_void,
    _: c_int,
    _: *const *const c_char,
    table: *mut *mut ffi::sqlite3_vtab,
    _: *mut *mut c_char,
) -> c_int {
    let Ok(declaration) = CString::new(format!("CREATE TABLE batch ({})", columns(0..MAX_COLUMNS))) else {
        return ffi::SQLITE_ERROR;
    };
    // SAFETY: see above.
    unsafe {
        let code = ffi::sqlite3_declare_vtab(handle, declaration.as_ptr());
        if code == ffi::SQLITE_OK {
            let base = ffi::sqlite3_vtab { pModule: ptr::null(), nRef: 0, zErrMsg: ptr::null_mut() };
            *table = Box::into_raw(Box::new(Table { base, batches: shared.cast_const().cast() })).cast();
        }
        code
    }
}

unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: see above.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    ffi::SQLITE_OK
}

/// There is one way to read it: from its beginning to its end.
unsafe extern "C" fn best_index(_: *mut ffi::sqlite3_vtab, _: *mut ffi::sqlite3_index_info) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn open(_: *mut ffi::sqlite3_vtab, cursor: *mut *mut ffi::sqlite3_vtab_cursor) -> c_int {
    let base = ffi::sqlite3_vtab_cursor { pVtab: ptr::null_mut() };
    // SAFETY: see above.
    unsafe { *cursor = Box::into_raw(Box::new(Cursor { base, batch: 0, row: 0 })).cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: see above.
    drop(unsafe { Box::from_raw(cursor.cast::<Cursor>()) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    _: c_int,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
) -> c_int {
    // SAFETY: see above.
    unsafe { go(cursor, |cursor| (cursor.batch, cursor.row) = (0, 0)) }
}

unsafe extern "C" fn next(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: see above.
    unsafe { go(cursor, |cursor| cursor.row += 1) }
}

/// Moves the cursor and then to the next row there is.
unsafe fn go(cursor: *mut ffi::sqlite3_vtab_cursor, step: impl FnOnce(&mut Cursor)) -> c_int {
    // SAFETY: see above.
    let (cursor, batches) = unsafe { (&mut *cursor.cast::<Cursor>(), (*cursor.cast::<Cursor>()).batches()) };
    let Ok(batches) = batches.try_borrow() else { return ffi::SQLITE_MISUSE };
    step(cursor);
    cursor.settle(&batches);
    ffi::SQLITE_OK
}

unsafe extern "C" fn eof(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: see above.
    let (cursor, batches) = unsafe { (&*cursor.cast::<Cursor>(), (*cursor.cast::<Cursor>()).batches()) };
    c_int::from(batches.try_borrow().map_or(true, |batches| cursor.batch >= batches.len()))
}

unsafe extern "C" fn rowid(_: *mut ffi::sqlite3_vtab_cursor, _: *mut ffi::sqlite3_int64) -> c_int {
    // Nothing asks for it.
    ffi::SQLITE_MISUSE
}

unsafe extern "C" fn column(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    column: c_int,
) -> c_int {
    // SAFETY: see above.
    let (cursor, batches) = unsafe { (&*cursor.cast::<Cursor>(), (*cursor.cast::<Cursor>()).batches()) };
    let (Ok(batches), Ok(column)) = (batches.try_borrow(), usize::try_from(column)) else {
        return ffi::SQLITE_MISUSE;
    };
    let Some(value) = batches.get(cursor.batch).and_then(|batch| batch.get(cursor.row, column)) else {
        return ffi::SQLITE_MISUSE;
    };
    // No destructor means that the bytes stay where they are: `serve` keeps the batches until the statement is over.
    // SAFETY: the lengths are those of the slices.
    unsafe {
        match value {
            ValueRef::Null => ffi::sqlite3_result_null(context),
            ValueRef::Int(value) => ffi::sqlite3_result_int64(context, value),
            ValueRef::Real(value) => ffi::sqlite3_result_double(context, value),
            ValueRef::Text(text) => {
                ffi::sqlite3_result_text64(context, text.as_ptr().cast(), text.len() as u64, None, UTF8);
            }
            ValueRef::Blob(blob) => {
                ffi::sqlite3_result_blob64(context, blob.as_ptr().cast(), blob.len() as u64, None);
            }
        }
    }
    ffi::SQLITE_OK
}
