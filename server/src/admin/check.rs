//! `ftserver check`.

use std::fmt::Display;

use ft_protocol::auth::check_user_name;
use ft_protocol::display::Escaped;

use super::{CommandError, print, say};
use crate::accounts::{Account, Accounts};
use crate::cli::CheckArgs;
use crate::config::{Config, Settings};
use crate::exec;
use crate::identity::Identity;
use crate::invites::Invites;
use crate::roots::canonical_root;
use crate::state::{StateDir, shown};

/// Reads everything that serving would read, changes nothing, and reports every error.
pub fn check(args: &CheckArgs, state: &StateDir) -> Result<(), CommandError> {
    let mut report = Report::default();
    if let Some(path) = &args.config {
        match Config::load(Settings::default(), Some(path)) {
            Ok(config) => {
                let root = config.settings.root.map(|root| canonical_root(&root, state));
                report.verdict(format_args!("configuration {}", shown(path)), root.transpose().map(drop));
            }
            Err(error) => report.wrong(&error),
        }
    }
    report.verdict(format_args!("state {}", shown(state.path())), state.refuse_exposed());
    match Identity::load(state) {
        Ok(Some(identity)) => report.fine(format_args!("key {}", identity.fingerprint())),
        Ok(None) => report.fine(format_args!("key: none yet, the first start makes it")),
        Err(error) => report.wrong(&error),
    }
    if let Err(error) = state.listen() {
        report.wrong(&error);
    }
    check_accounts(&Accounts::new(state), &mut report)?;
    let (count, errors) = Invites::new(state).check()?;
    errors.iter().for_each(|error| report.wrong(error));
    report.fine(format_args!("invites: {} of {count}", count - errors.len()));
    report.end()
}

fn check_accounts(accounts: &Accounts, report: &mut Report) -> Result<(), CommandError> {
    let names = accounts.list()?;
    let mut good = 0;
    for name in &names {
        if let Err(error) = check_user_name(name) {
            report.wrong(&format_args!("{}: {error}", shown(&accounts.path_of(name))));
            continue;
        }
        match accounts.load(name) {
            Ok(Some(account)) => {
                if let Some(Err(error)) = account.exec.user().map(exec::check_user) {
                    let file = accounts.path_of(name);
                    report.wrong(&format_args!("{}: [exec] user: {error}", shown(&file)));
                    continue;
                }
                good += 1;
                note_on_exec(&account);
                if account.keys.is_empty() && account.password.is_none() {
                    say(format_args!("note: nobody can log in to {name}: it has neither key nor password"));
                }
            }
            // Removed while we looked.
            Ok(None) => {}
            Err(error) => report.wrong(&error),
        }
    }
    report.fine(format_args!("accounts: {good} of {}", names.len()));
    Ok(())
}

/// What may be meant, but is more likely a mistake.
fn note_on_exec(account: &Account) {
    let name = &account.name;
    if !account.may_run_commands() && !account.exec.is_default() {
        say(format_args!(
            "note: the [exec] table of {name} has no effect: it has neither right exec nor shell"
        ));
    }
    for program in account.exec.programs().filter(|program| !program.is_file()) {
        say(format_args!(
            "note: {name} may run {}, which is not there; arguments are words of their own",
            shown(program)
        ));
    }
}

/// What was checked, for standard output; what is wrong is said at once.
#[derive(Default)]
struct Report {
    lines: String,
    wrong: usize,
}

impl Report {
    fn verdict<E: Display>(&mut self, what: impl Display, verdict: Result<(), E>) {
        match verdict {
            Ok(()) => self.fine(what),
            Err(error) => self.wrong(&format_args!("{what}: {error}")),
        }
    }

    fn fine(&mut self, what: impl Display) {
        self.lines.push_str(&format!("ok {what}\n"));
    }

    fn wrong(&mut self, error: &dyn Display) {
        self.wrong += 1;
        say(format_args!("{}", Escaped::from(error.to_string().as_str())));
    }

    fn end(self) -> Result<(), CommandError> {
        print(&self.lines)?;
        if self.wrong == 0 { Ok(()) } else { Err(CommandError::Check(self.wrong)) }
    }
}
