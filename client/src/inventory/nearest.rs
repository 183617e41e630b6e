//! What somebody who mistyped a name may have meant.

use crate::config::Config;

/// Most names that are offered.
const MOST: usize = 3;

/// The names that a mistyped one may stand for, nearest first: at most three, none further away than a third of its
/// letters.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        // Bytes bound the distance, and most names need no more than that look.
        .filter(|name| name.len().abs_diff(word.len()) <= limit * 4)
        .map(|name| (strsim::osa_distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, name)| name).collect()
}

/// The hosts of the configuration that this name may stand for.
pub fn nearest_hosts<'a>(config: &'a Config, name: &str) -> Vec<&'a str> {
    nearest(name, config.hosts.keys().map(String::as_str))
}

/// `; did you mean 'web1' or 'web2'?`, or nothing.
pub(crate) fn did_you_mean(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => format!("; did you mean {last}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["web1", "web2", "db1", "mail", "w"];
        assert_eq!(nearest("wbe1", names), ["web1"]);
        assert_eq!(nearest("WEB1", names), ["web1", "web2"]);
        assert_eq!(nearest("wen", names), Vec::<&str>::new());
        assert_eq!(nearest("mial", names), ["mail"]);
        assert_eq!(nearest("x", names), Vec::<&str>::new(), "a name of one letter is near to everything");
        assert_eq!(did_you_mean(&nearest("web", names)), "; did you mean 'web1' or 'web2'?");
        assert_eq!(did_you_mean(&[]), "");
    }
}
