//! The list of all cases, and the macro that turns each into a test.

/// Turns every case of the suite into a test of the store that `$fresh`, a [`FreshStore`](crate::FreshStore), makes.
///
/// Put it into a module with the store's name: the tests are then `sqlite::claims_are_exclusive` and so on.
#[macro_export]
macro_rules! job_store_suite {
    ($fresh:expr) => {
        $crate::job_store_cases! { job_store_tests $fresh }
    };
}

/// The table: each file of cases, and what is in it.
#[doc(hidden)]
#[macro_export]
macro_rules! job_store_cases {
    ($then:ident $($arg:tt)*) => {
        $crate::$then! {
            [$($arg)*]
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! job_store_tests {
    ([$fresh:expr] $($file:ident: $($case:ident)*;)*) => {$($(
        #[test]
        fn $case() {
            $crate::run_case(stringify!($case), &$fresh, $crate::cases::$file::$case);
        }
    )*)*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! job_store_names {
    ([] $($file:ident: $($case:ident)*;)*) => {
        &[$($((stringify!($file), stringify!($case)),)*)*]
    };
}

/// Every case: the file it is in, and its name.
pub const CASES: &[(&str, &str)] = job_store_cases! { job_store_names };

#[cfg(test)]
mod tests {
    use super::CASES;

    /// A case that nobody calls is no case.
    #[test]
    fn every_case_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cases");
        let mut written = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    written.push((stem.clone(), rest.split('(').next().unwrap().to_owned()));
                }
            }
        }
        let mut listed: Vec<_> = CASES
            .iter()
            .map(|&(file, case)| (file.to_owned(), case.to_owned()))
            .collect();
        written.sort();
        listed.sort();
        assert_eq!(written, listed);
    }
}
