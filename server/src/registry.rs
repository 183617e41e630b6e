//! Sessions that are logged in: so that a reconnect ends its own ghost, and a removed account its sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Which session: account, run and connection of the run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) user: String,
    pub(crate) run: [u8; 16],
    pub(crate) slot: u32,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashMap<SessionKey, Session>>);

#[derive(Debug, Clone)]
struct Session {
    end: CancellationToken,
    ended: CancellationToken,
}

impl Registry {
    /// Enters a session. An older one of the same key is ended first, and its locks are free when this returns.
    pub(crate) async fn enter(self: &Arc<Self>, key: SessionKey, end: CancellationToken) -> Entered {
        let session = Session { end, ended: CancellationToken::new() };
        loop {
            let older = {
                let mut sessions = self.sessions();
                match sessions.get(&key) {
                    Some(older) => older.clone(),
                    None => {
                        sessions.insert(key.clone(), session.clone());
                        return Entered { registry: Arc::clone(self), key, ended: session.ended };
                    }
                }
            };
            older.end.cancel();
            older.ended.cancelled().await;
        }
    }

    /// Accounts with a session.
    pub(crate) fn users(&self) -> Vec<String> {
        let mut users: Vec<_> = self.sessions().keys().map(|key| key.user.clone()).collect();
        users.sort();
        users.dedup();
        users
    }

    /// Ends every session of an account.
    pub(crate) fn end(&self, user: &str) {
        self.sessions()
            .iter()
            .filter(|(key, _)| key.user == user)
            .for_each(|(_, session)| session.end.cancel());
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session in the registry; drop it when nothing of the session runs any more.
#[derive(Debug)]
pub(crate) struct Entered {
    registry: Arc<Registry>,
    key: SessionKey,
    ended: CancellationToken,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.key);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reconnect_ends_its_ghost_and_waits_for_it() {
        let registry = Arc::new(Registry::default());
        let key = SessionKey { user: "ann".into(), run: [1; 16], slot: 0 };
        let end = CancellationToken::new();
        let ghost = registry.enter(key.clone(), end.clone()).await;
        let (two, again) = (Arc::clone(&registry), key.clone());
        let reconnect = tokio::spawn(async move { two.enter(again, CancellationToken::new()).await });
        end.cancelled().await;
        assert!(!reconnect.is_finished(), "the ghost still holds its locks");
        drop(ghost);
        let entered = reconnect.await.unwrap();
        assert_eq!(registry.users(), ["ann"]);
        let other = SessionKey { slot: 1, ..key };
        let _other = registry.enter(other, CancellationToken::new()).await;
        drop(entered);
        assert_eq!(registry.users(), ["ann"], "another slot is another session");
    }
}
