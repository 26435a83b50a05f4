//! The names of the handlers that run in this process.
//!
//! Problem: the ids of a handler's messages are derived from its name. If two handlers of one category have the same
//! name, the second to handle a message finds the ids of the first, and writes nothing. Fix: the second handler is
//! refused when it starts. Consumers with the same handler and identifier are allowed, because they are members of a
//! group, or one takes over from the other. (A process does not know the names in other processes. There, a message of
//! another type under the same id is an error.)

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Category, Error, Result, StoreId};

type Key = (StoreId, Category, &'static str);

#[derive(Debug, PartialEq)]
struct Owner {
    identifier: Option<String>,
    handler: TypeId,
}

static NAMES: Mutex<Option<HashMap<Key, (Owner, usize)>>> = Mutex::new(None);

/// A name that is in use until it is released, or until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct NameInUse(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    key: Key,
    is_released: AtomicBool,
}

impl NameInUse {
    pub(super) fn take<H: 'static>(
        store: StoreId,
        category: Category,
        name: &'static str,
        identifier: Option<String>,
    ) -> Result<Self> {
        let owner = Owner { identifier, handler: TypeId::of::<H>() };
        let key = (store, category, name);
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get_or_insert_default().get_mut(&key) {
            Some((other, consumers)) if *other == owner => *consumers += 1,
            Some((other, _)) => {
                let identifier = other
                    .identifier
                    .as_ref()
                    .map_or("without an identifier".to_owned(), |it| format!("with the identifier {it}"));
                let reason = format!(
                    "a consumer {identifier} handles {} in this process with another handler named {name:?}: the messages \
                     that both write for a message would have the same ids. Give each handler of a category its own name",
                    key.1
                );
                return Err(Error::invalid("handler", reason));
            }
            None => {
                names.get_or_insert_default().insert(key.clone(), (owner, 1));
            }
        }
        Ok(Self(Arc::new(Taken { key, is_released: AtomicBool::new(false) })))
    }

    /// Frees the name, because the consumer has ended. Further calls change nothing.
    pub(super) fn release(&self) {
        self.0.release();
    }
}

impl Taken {
    fn release(&self) {
        if self.is_released.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_default();
        if let Some((_, consumers)) = names.get_mut(&self.key) {
            *consumers -= 1;
            if *consumers == 0 {
                names.remove(&self.key);
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct First;
    struct Second;

    #[test]
    fn a_name_belongs_to_one_handler_and_one_identifier_until_its_consumers_have_ended() {
        let (store, category) = (StoreId::new(), Category::new("account:command").unwrap());
        let take = |identifier: Option<&str>| {
            NameInUse::take::<First>(store, category.clone(), "mail", identifier.map(str::to_owned))
        };
        let member = take(Some("a")).unwrap();
        let other_member = take(Some("a")).unwrap();
        assert!(take(Some("b")).is_err() && take(None).is_err(), "another consumer");
        assert!(
            NameInUse::take::<Second>(store, category.clone(), "mail", Some("a".into())).is_err(),
            "another handler"
        );
        assert!(NameInUse::take::<Second>(store, category.clone(), "letters", Some("b".into())).is_ok());
        assert!(NameInUse::take::<Second>(StoreId::new(), category.clone(), "mail", None).is_ok());
        drop(member);
        assert!(take(Some("b")).is_err());
        other_member.release();
        let successor = take(Some("b")).unwrap();
        drop(other_member);
        assert!(take(None).is_err(), "its second release must change nothing");
        drop(successor);
        assert!(take(None).is_ok());
    }
}
