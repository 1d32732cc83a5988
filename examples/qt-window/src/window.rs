//! The widgets of the window.

#[cxx_qt::bridge]
pub(crate) mod qt {
    unsafe extern "C++" {
        include!("qt-window.h");
        type QApplication;
    }

    unsafe extern "C++Qt" {
        include!(<QtWidgets/QPushButton>);
        #[qobject]
        type QPushButton;
        #[qsignal]
        fn clicked(self: Pin<&mut QPushButton>, checked: bool);
    }

    // Safe to call: on the one thread of the program that has any of these objects; none of them is `Send`.
    #[namespace = "qt_window"]
    unsafe extern "C++" {
        fn make_application() -> UniquePtr<QApplication>;
        fn exec() -> i32;
        fn quit();
        fn set_text(button: Pin<&mut QPushButton>, label: &str);

        type Window;
        fn make_window(title: &str, columns: &[&str]) -> UniquePtr<Window>;
        fn set_cell(self: Pin<&mut Window>, row: i32, column: i32, value: &str);
        fn button(self: Pin<&mut Window>) -> Pin<&mut QPushButton>;
    }
}
