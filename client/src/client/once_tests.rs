use ft_protocol::{Failure, Status};

use super::*;

/// What came through, as the next attempt follows another.
struct Heard {
    once: Once,
    attempts: u32,
    items: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    fn of(run: Run) -> Self {
        let items = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&items);
        let on_item: OnItem = Arc::new(move |item| {
            let sign = match (item.action, &item.failure) {
                (_, Some(_)) => '!',
                (Action::Deleted, _) => '-',
                _ => '+',
            };
            told.lock().unwrap().push(format!("{sign}{}", item.path));
        });
        Self { once: Once::new(on_item, run), attempts: 0, items }
    }

    /// One attempt that says this, and what is new of it. `+` and `*` are files that are new and left alone, `/` a
    /// directory, `-` what is removed, `!` and `x` failures to copy and to remove.
    fn attempt(&mut self, said: &[&str]) -> Vec<String> {
        self.once.attempt(self.attempts);
        self.attempts += 1;
        let on_item = self.once.on_item();
        for said in said {
            let (sign, path) = said.split_at(1);
            let (kind, action) = match sign {
                "/" => (Kind::Dir, Action::Created),
                "*" => (Kind::File, Action::Skipped),
                "-" | "x" => (Kind::File, Action::Deleted),
                _ => (Kind::File, Action::Created),
            };
            let failure = matches!(sign, "!" | "x").then(|| Failure::new(Status::PermissionDenied, "no"));
            let path = RemotePath::from_typed(path.as_bytes()).unwrap();
            on_item(&Item { failure, ..Item::new(path, kind, action) });
        }
        std::mem::take(&mut *self.items.lock().unwrap())
    }

    fn equal(&self, equal: u64) -> u64 {
        self.once.count(TreeDone { equal, failed: 0 }, true).equal
    }
}

#[test]
fn a_dry_run_tells_of_directories_and_removals_once() {
    let mut heard = Heard::of(Run::Foresees);
    assert_eq!(heard.attempt(&["/a", "+a/1"]), ["+a", "+a/1"]);
    assert_eq!(heard.attempt(&["/a", "+a/1", "/b", "-c", "-a/0"]), ["+b", "-c", "-a/0"]);
    assert_eq!(heard.attempt(&["/a", "+a/1", "/b", "-c", "-a/0", "-d"]), ["-d"]);
}

#[test]
fn what_a_dry_run_would_copy_is_not_equal_later() {
    let mut heard = Heard::of(Run::Foresees);
    heard.attempt(&["+a", "+b"]);
    heard.attempt(&["+a", "+b"]);
    assert_eq!(heard.equal(5), 5);
}

#[test]
fn what_was_copied_before_is_not_counted_as_equal_and_what_was_left_alone_never_is() {
    let mut heard = Heard::of(Run::Changes);
    heard.attempt(&["+a", "*b", "+c"]);
    heard.attempt(&["*b", "+d"]);
    assert_eq!(heard.equal(5), 3);
}

#[test]
fn a_removal_that_fails_at_each_attempt_is_told_once() {
    let mut heard = Heard::of(Run::Changes);
    assert_eq!(heard.attempt(&["!a", "xb", "-c"]), ["!a", "!b", "-c"]);
    assert_eq!(heard.attempt(&["!a", "xb", "-d"]), ["-d"]);
}

#[test]
fn what_takes_the_place_of_a_directory_at_the_end_is_told_though_later_names_were() {
    let mut heard = Heard::of(Run::Changes);
    assert_eq!(heard.attempt(&["+b", "+c"]), ["+b", "+c"]);
    assert_eq!(heard.attempt(&["+d", "-a", "+a"]), ["+d", "-a", "+a"]);
    assert_eq!(heard.attempt(&["+e"]), ["+e"], "all that is equal now is not told");
}

#[test]
fn an_attempt_that_ends_early_does_not_make_the_next_one_repeat() {
    for run in [Run::Compares, Run::Foresees, Run::Changes] {
        let mut heard = Heard::of(run);
        heard.attempt(&["+a", "+b", "+c"]);
        assert!(heard.attempt(&["+a"]).is_empty());
        assert_eq!(heard.attempt(&["+a", "+b", "+c", "+d"]), ["+d"], "{run:?}");
    }
}
