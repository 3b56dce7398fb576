//! The border to libraries that panic on some files (tokenizers, parquet): there a panic is an error.
//!
//! The panic's message is kept from stderr for the thread and the time of one call. Panics of anything else go their
//! usual way.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// What a thread does with a panic's message.
enum Hook {
    /// It is printed, as everywhere.
    Print,
    /// It is kept here.
    Keep(Option<String>),
}

thread_local! {
    static HOOK: RefCell<Hook> = const { RefCell::new(Hook::Print) };
}

/// Does some work of a library; a panic becomes its message.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = HOOK.with_borrow_mut(|hook| match hook {
                Hook::Print => false,
                Hook::Keep(message) => {
                    let text = info.payload_as_str();
                    *message = Some(text.unwrap_or("no reason given").to_owned());
                    true
                }
            });
            if !kept {
                usual(info);
            }
        }));
    });
    let outer = HOOK.replace(Hook::Keep(None));
    // What a panic leaves half done is not used again: the caller gets an error and no tokenizer or ids.
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    let kept = HOOK.replace(outer);
    done.map_err(|_| match kept {
        Hook::Keep(Some(message)) => message,
        _ => "no reason given".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_message_and_the_next_one_is_free() {
        assert_eq!(guarded(|| 3), Ok(3));
        let message = guarded(|| panic!("broken map"))
            .map(|(): ()| ())
            .unwrap_err();
        assert!(message.contains("broken map"), "{message}");
        assert_eq!(
            guarded(|| guarded(|| panic!("{}", 7))),
            Ok(Err::<(), _>("7".to_owned()))
        );
        assert!(matches!(HOOK.replace(Hook::Print), Hook::Print));
    }
}
