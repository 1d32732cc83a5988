//! The scripts, each with its digest. The server keeps them by digest; whoever restarted or was told to forget is given the text
//! again.

use std::sync::LazyLock;

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) digest: String,
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {$(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            let text = concat!(include_str!("lua/prelude.lua"), include_str!(concat!("lua/", $file)));
            let digest = sha1_smol::Sha1::from(text).digest().to_string();
            Script { text, digest }
        });
    )*};
}

scripts! {
    APPEND_LOG "append_log.lua"
    COMMIT "commit.lua"
    CROWDED "crowded.lua"
    DELETE_ROWS "delete_rows.lua"
    EXPIRED "expired.lua"
    INSERT_ROWS "insert_rows.lua"
    LIST "list.lua"
    LIST_LAST "list_last.lua"
    MEND "mend.lua"
    NEXT_WAKE "next_wake.lua"
    OWNED "owned.lua"
    PUT_RECORD "put_record.lua"
    RAISE_FENCE_FLOOR "raise_fence_floor.lua"
    RENEW "renew.lua"
    SELF_TEST "self_test.lua"
    SUPERSEDE "supersede.lua"
    UNLOCK "unlock.lua"
}
