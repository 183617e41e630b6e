//! What is to be done about a file.

use super::commit::{Step, What};
use super::decide::{not_regular, same_time};
use super::landing::TreeLanding;
use super::turns::{Arriving, Content};
use super::{Action, Item};
use crate::auth::Rights;
use crate::digest::Hash;
use crate::error::{Error, Result, Status};
use crate::fs::{CommitOptions, Dir, Kind, Meta, ModeRule, Staged};
use crate::transfer::{FileInfo, Landing, MAX_HAVE, ReceiveJob, Sink, proof_of};
use crate::wire::message::{Accept, Node};
use crate::wire::{BLOCK_LEN, Message};

/// Partial files that nobody came back for are removed after this long.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

impl TreeLanding {
    pub(super) fn decide_file(&mut self, number: u32, node: &Node, item: &Item) -> Result<()> {
        let (dir, existing) = self.standing(&item.path)?;
        let keeps_time = self.job.preserve || self.job.times;
        let mut late = false;
        match existing {
            Some(meta) if meta.kind == Kind::Other => return Err(not_regular(item)),
            Some(meta) if meta.kind == Kind::Dir => {
                if self.job.no_clobber {
                    self.job.meter.decided(item.size);
                    self.note(Item { action: Action::Skipped, ..item.clone() });
                    return Ok(());
                }
                self.takes_place(item)?;
                late = true;
            }
            Some(_) if self.job.no_clobber => {
                self.job.meter.decided(item.size);
                self.note(Item { action: Action::Skipped, ..item.clone() });
                return Ok(());
            }
            Some(meta)
                if self.job.quick
                    && meta.kind == Kind::File
                    && meta.size == item.size
                    && same_time(meta.mtime, item.mtime) =>
            {
                self.equal(node, item, &meta);
                return Ok(());
            }
            _ => {}
        }
        let file = existing.filter(|meta| meta.kind == Kind::File);
        let forbidden = match self.allow(existing.is_some(), item) {
            Ok(()) => false,
            // It may be equal, which is all that is needed then.
            Err(_) if file.is_some_and(|meta| meta.size == item.size) => true,
            Err(error) => return Err(error),
        };
        let rule =
            if self.job.preserve { ModeRule::Preserve(node.mode) } else { ModeRule::Default(node.mode) };
        let mut arriving = Arriving {
            number,
            item: item.clone(),
            mode: rule.resolve(file.as_ref()),
            mtime: keeps_time.then_some(item.mtime),
            existing: file,
            offered: None,
            forbidden,
            late,
            content: Content::Awaited,
            blocks: 0,
            damaged: 0,
        };
        let same_size = file.is_some_and(|meta| meta.size == node.size);
        if self.job.dry_run {
            if same_size && self.may(Rights::READ) {
                // Only its proof will come.
                self.say(Accept { file: number, have: 0 });
                self.accept(arriving);
                return Ok(());
            }
            self.job.meter.decided(item.size);
            if late {
                self.late.push(Step { number: 0, item: item.clone(), what: What::Nothing });
                return Ok(());
            }
            let action = if existing.is_some() { Action::Replaced } else { Action::Created };
            self.note(Item { action, ..item.clone() });
            return Ok(());
        }
        let dir = dir.ok_or_else(|| Error::protocol("a node without a tree"))?;
        let name = item.path.file_name().unwrap_or_default();
        if let Some(frame) = self.frames.last_mut().filter(|frame| !frame.swept) {
            frame.swept = true;
            dir.sweep_staging(ABANDONED);
        }
        if node.size > BLOCK_LEN as u64 {
            return self.accept_large(arriving, &dir, name, rule);
        }
        // Who may not read is told no digests of what is here.
        if same_size && self.may(Rights::READ) {
            arriving.offered = self.digest_of(&dir, name, node.size).ok();
        }
        self.say(Accept { file: number, have: u64::from(arriving.offered.is_some()) });
        if let Some(offered) = arriving.offered {
            self.say(Message::Have(offered.to_vec().into()));
        }
        self.accept(arriving);
        Ok(())
    }

    /// Equal by size and time; with `-p` its mode may not be.
    fn equal(&mut self, node: &Node, item: &Item, meta: &Meta) {
        self.job.meter.decided(item.size);
        let mode = Some(node.mode & 0o777).filter(|mode| self.job.preserve && *mode != meta.mode & 0o777);
        if mode.is_none() || !self.may(Rights::OVERWRITE) {
            self.done.equal += 1;
        } else {
            let what =
                if self.job.dry_run { What::Nothing } else { What::Meta { mode, mtime: Some(item.mtime) } };
            let item = Item { action: Action::Meta, ..item.clone() };
            self.wait(Step { number: 0, item, what });
        }
    }

    fn accept_large(&mut self, mut arriving: Arriving, dir: &Dir, name: &[u8], rule: ModeRule) -> Result<()> {
        let info =
            FileInfo { size: Some(arriving.item.size), mtime: arriving.item.mtime, mode: arriving.mode };
        let staged = match self.job.resume {
            true => Staged::partial(dir, info.partial_key(&self.job.account, &arriving.item.path))?,
            false => Staged::temp(dir)?,
        };
        let standing = match arriving.existing {
            // What cannot be read is replaced all the same.
            Some(_) if self.may(Rights::READ) => dir.open_file(name).ok().map(|(file, _)| file),
            _ => None,
        };
        let replace = self.may_replace();
        let commit = CommitOptions { len: 0, replace, mtime: arriving.mtime, mode: rule };
        let job = ReceiveJob {
            info,
            sink: Sink::File { staged, name: name.to_vec(), commit, standing },
            algorithm: self.job.algorithm,
            whole: self.job.whole,
            known: None,
            meter: self.job.meter.bytes.clone(),
            rate: None,
        };
        let mut landing = Landing::new(self.op, arriving.number, job, self.tx.clone()).with_pulse();
        // It sends by itself, behind what was said before.
        self.answer()?;
        arriving.blocks = landing.offer_what_is_here(MAX_HAVE.saturating_sub(self.offered))?;
        self.offered += arriving.blocks;
        arriving.content = Content::Large(Box::new(landing));
        self.large += 1;
        self.accept(arriving);
        Ok(())
    }

    /// Proof of what stands here.
    pub(super) fn digest_of(&mut self, dir: &Dir, name: &[u8], size: u64) -> Result<Hash> {
        let (file, meta) = dir.open_file(name)?;
        if meta.size != size {
            return Err(Error::local(Status::Changed, "it changed"));
        }
        proof_of(&file, size, self.job.algorithm, &self.lanes, &mut self.pulse)
    }
}
