//! Edits that keep the comments around them in their places.

use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// Adds a word to an array; on a line of its own where the others are so.
pub(super) fn push(words: &mut Array, word: String) {
    let trailing = words.trailing().as_str().unwrap_or_default().to_owned();
    let last = words.get(words.len().wrapping_sub(1)).and_then(|last| last.decor().prefix()?.as_str());
    let indent = last.and_then(|prefix| prefix.rsplit_once('\n')).map(|(_, indent)| indent.to_owned());
    match (trailing.rsplit_once('\n'), indent) {
        (Some((comment, end)), Some(indent)) if words.trailing_comma() => {
            let mut word = Value::from(word);
            word.decor_mut().set_prefix(format!("{comment}\n{indent}"));
            words.push_formatted(word);
            words.set_trailing(format!("\n{end}"));
        }
        _ => words.push(word),
    }
}

/// Removes a word of an array, with the comments above it and behind it. What stands behind the one before it on its
/// line stays: it is kept before this one.
pub(super) fn remove(words: &mut Array, at: usize) {
    let before = |word: &Value| word.decor().prefix()?.as_str().map(str::to_owned);
    let prefix = words.get(at).and_then(before).unwrap_or_default();
    words.remove(at);
    let Some((kept, _)) = prefix.split_once('\n') else { return };
    let rest = |own: &str| own.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned());
    match words.get_mut(at) {
        Some(next) => {
            let own = before(next).unwrap_or_default();
            next.decor_mut().set_prefix(format!("{kept}\n{}", rest(&own)));
        }
        None => {
            let own = words.trailing().as_str().map(rest).unwrap_or_default();
            words.set_trailing(format!("{kept}\n{own}"));
        }
    }
}

/// Removes a key of the top. The comments above it stay.
pub(super) fn remove_key(document: &mut DocumentMut, key: &str) {
    let prefix = document.key(key).and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned));
    document.remove(key);
    keep(document, prefix.as_deref().unwrap_or_default(), None);
}

/// Removes `[TABLE.NAME]` with the comment right above it. What is further up, beyond a blank line, is about more than
/// this table and goes to the next one.
pub(super) fn remove_table(document: &mut DocumentMut, table: &str, name: &str) {
    let tables = document.get_mut(table).and_then(Item::as_table_like_mut);
    let Some(Item::Table(gone)) = tables.and_then(|tables| tables.remove(name)) else { return };
    let prefix = gone.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let kept = match prefix.trim_end_matches(['\n', ' ', '\t']).len() {
        // A blank line between the comment and the table.
        end if prefix.get(end..).unwrap_or_default().matches('\n').count() > 1 => prefix,
        _ => prefix.rsplit_once("\n\n").map_or("", |(above, _)| above),
    };
    keep(document, kept, gone.position());
}

/// Puts comments before what comes after this place.
fn keep(document: &mut DocumentMut, comments: &str, after: Option<isize>) {
    if !comments.contains('#') {
        return;
    }
    let comments = format!("{}\n", comments.trim_end());
    match next(document.as_table_mut(), after) {
        Some(next) => {
            let own = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("\n").to_owned();
            let blank = if own.starts_with('\n') { "" } else { "\n" };
            next.decor_mut().set_prefix(comments + blank + &own);
        }
        None => {
            let rest = document.trailing().as_str().unwrap_or_default().to_owned();
            document.set_trailing(comments + &rest);
        }
    }
}

/// The table whose header comes next in the file.
fn next(table: &mut Table, after: Option<isize>) -> Option<&mut Table> {
    let mut found: Option<&mut Table> = None;
    for (_, item) in table.iter_mut() {
        let Item::Table(inner) = item else { continue };
        let is_next = !inner.is_implicit() && !inner.is_dotted() && inner.position() > after;
        let candidate = if is_next { Some(inner) } else { next(inner, after) };
        found = match (found, candidate) {
            (Some(one), Some(other)) if other.position() < one.position() => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        };
    }
    found
}
