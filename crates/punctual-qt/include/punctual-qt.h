// What C++ has to say itself: templates and static functions have no binding.
#pragma once

#include <QtCore/QCoreApplication>
#include <QtCore/QThread>

#include <memory>

namespace punctual_qt {

template<typename T>
std::unique_ptr<T>
make()
{
  return std::make_unique<T>();
}

// Whether this is the thread of the program's QCoreApplication.
inline bool
is_gui_thread()
{
  const auto* app = QCoreApplication::instance();
  return app != nullptr && app->thread() == QThread::currentThread();
}

}
