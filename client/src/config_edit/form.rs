//! The form of a file that an edited document does not keep.

/// What an edited document does not keep of its text.
pub(super) struct Form {
    /// A byte order mark comes first.
    marked: bool,
    /// All lines end in CR LF.
    crlf: bool,
}

/// The byte order mark.
const MARK: char = '\u{feff}';

impl Form {
    pub(super) fn of(text: &str) -> Self {
        let (lines, crlf) = (text.matches('\n').count(), text.matches("\r\n").count());
        Self { marked: text.starts_with(MARK), crlf: lines > 0 && lines == crlf }
    }

    pub(super) fn plain(&self, text: &str) -> String {
        let text = text.strip_prefix(MARK).unwrap_or(text);
        if self.crlf { text.replace("\r\n", "\n") } else { text.to_owned() }
    }

    pub(super) fn restored(&self, text: String) -> String {
        let text = if self.crlf { text.replace('\n', "\r\n") } else { text };
        if self.marked { format!("{MARK}{text}") } else { text }
    }
}
