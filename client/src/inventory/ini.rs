//! INI files as Python's configparser reads them with interpolation off.
//!
//! A crate that reads INI files would interpret quotes and backslashes or could not tell lines, and the values here
//! are passwords: they are taken as they stand, only blanks around them go.

use std::collections::HashMap;

use zeroize::Zeroizing;

/// The sections of a file, and the lines that mean nothing.
#[derive(Default)]
pub(super) struct Ini {
    pub(super) sections: Vec<Section>,
    pub(super) bad: Vec<Bad>,
}

/// `[name]` and what follows it.
pub(super) struct Section {
    pub(super) name: String,
    /// Line number from 1.
    pub(super) line: usize,
    pub(super) entries: Vec<Entry>,
    /// Where the entry of each key is.
    places: HashMap<String, usize>,
}

/// `key = value` or `key: value`.
pub(super) struct Entry {
    /// In lower case.
    pub(super) key: String,
    /// Without the blanks around it; lines that go on in it are separated by line feeds.
    pub(super) value: Zeroizing<String>,
    /// Line number from 1.
    pub(super) line: usize,
}

/// A line that means nothing. The text is not told: it may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.places.get(key).and_then(|place| self.entries.get(*place))
    }
}

pub(super) fn parse(text: &str) -> Ini {
    let mut ini = Ini::default();
    // Where the current key began; none where no line can go on.
    let mut indent = None;
    for (index, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (line, value) = (index + 1, text.trim());
        if value.starts_with(['#', ';']) {
            continue;
        }
        let deeper = text.len() - text.trim_start().len();
        let goes_on = indent.is_some_and(|indent| value.is_empty() || deeper > indent);
        let current = ini.sections.last_mut().and_then(|section| section.entries.last_mut());
        if let Some(entry) = current.filter(|_| goes_on) {
            entry.value.push('\n');
            entry.value.push_str(value);
            continue;
        }
        if value.is_empty() {
            continue;
        }
        indent = ini.line(value, line).then_some(deeper);
    }
    for entry in ini.sections.iter_mut().flat_map(|section| &mut section.entries) {
        let length = entry.value.trim_end().len();
        entry.value.truncate(length);
    }
    ini
}

impl Ini {
    /// Takes a line in; true where further lines may belong to it.
    fn line(&mut self, text: &str, line: usize) -> bool {
        let header = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((name, _)) = header.filter(|(name, _)| !name.is_empty()) {
            let (name, places) = (name.to_owned(), HashMap::new());
            self.sections.push(Section { name, line, entries: Vec::new(), places });
            return false;
        }
        let what = match (text.split_once(['=', ':']), self.sections.last_mut()) {
            (_, None) => "it stands before the first [section]",
            (None, _) => "it is neither a [section] nor 'key = value'",
            (Some((key, value)), Some(section)) => {
                let key = key.trim().to_lowercase();
                if key.is_empty() {
                    "it has no key"
                } else if section.get(&key).is_some() {
                    "its section has this key already, and the first one counts"
                } else {
                    let value = Zeroizing::new(value.trim().to_owned());
                    section.places.insert(key.clone(), section.entries.len());
                    section.entries.push(Entry { key, value, line });
                    return true;
                }
            }
        };
        self.bad.push(Bad { line, what });
        false
    }
}

/// A value that Python's configparser takes for true or false.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(ini: &Ini) -> Vec<(usize, String, String)> {
        let all = ini.sections.iter().flat_map(|section| &section.entries);
        all.map(|entry| (entry.line, entry.key.clone(), entry.value.to_string())).collect()
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        let ini = parse(
            "\u{feff}# c\r\n[Web 1] trailing\r\nIP = 10.0.0.1\r\n; c\r\npassword: =a%b#c;d\\e\"f' \n\
             key=\nother = a:b=c\n  # not in it\n  next\n\n  last\n\n[b]\nx : = y\n",
        );
        let names: Vec<_> = ini.sections.iter().map(|s| (s.name.as_str(), s.line)).collect();
        assert_eq!(names, [("Web 1", 2), ("b", 13)]);
        let expected = [
            (3, "ip", "10.0.0.1"),
            (5, "password", "=a%b#c;d\\e\"f'"),
            (6, "key", ""),
            (7, "other", "a:b=c\nnext\n\nlast"),
            (14, "x", "= y"),
        ];
        assert_eq!(
            entries(&ini),
            expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()))
        );
        assert_eq!(ini.bad, []);
    }

    #[test]
    fn lines_that_mean_nothing_are_told_and_change_nothing() {
        let ini = parse("stray = 1\n[a]\nno delimiter\n= x\nk = 1\nK = 2\n  of the second\n[]\n");
        assert_eq!(ini.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [1, 3, 4, 6, 7, 8]);
        assert_eq!(entries(&ini), [(5, "k".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_section_of_many_keys_is_read_at_once() {
        // Looking through all keys for each of them would take minutes.
        let text: String = (0..300_000).map(|key| format!("k{key}=v\n")).collect();
        let ini = parse(&format!("[a]\n{text}k7=again\n"));
        assert_eq!((ini.bad.len(), ini.sections[0].entries.len()), (1, 300_000));
        assert_eq!(ini.sections[0].get("k7").map(|entry| entry.line), Some(9));
    }

    #[test]
    fn booleans_are_those_of_configparser() {
        for text in ["1", "Yes", "TRUE", "on"] {
            assert_eq!(boolean(text), Some(true));
        }
        for text in ["0", "no", "False", "off"] {
            assert_eq!(boolean(text), Some(false));
        }
        assert_eq!((boolean(""), boolean("2"), boolean("True\nx")), (None, None, None));
    }
}
