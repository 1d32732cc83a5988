#pragma once

#include <QtCore/QMetaObject>
#include <QtGui/QGuiApplication>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rust/cxx.h"

namespace punctual_qt {

// A QGuiApplication, and what has to live as long as that: argc and argv.
class App
{
public:
  explicit App(const rust::Vec<rust::String>& args)
    : m_args(args.begin(), args.end())
  {
    for (auto& arg : m_args) {
      m_argv.push_back(arg.data());
    }
    m_argc = static_cast<int>(m_argv.size());
    m_argv.push_back(nullptr);
    m_app = std::make_unique<QGuiApplication>(m_argc, m_argv.data());
  }

private:
  std::vector<std::string> m_args;
  std::vector<char*> m_argv;
  int m_argc = 0;
  std::unique_ptr<QGuiApplication> m_app;
};

inline std::unique_ptr<App>
make_app(const rust::Vec<rust::String>& args)
{
  return std::make_unique<App>(args);
}

inline int
exec()
{
  return QGuiApplication::exec();
}

inline void
quit(int code)
{
  QCoreApplication::exit(code);
}

inline void
process_events()
{
  QCoreApplication::processEvents();
}

template<typename Call>
void
post(rust::Box<Call> call)
{
  QMetaObject::invokeMethod(
    QCoreApplication::instance(),
    [call = std::move(call)]() mutable { call->run(); },
    Qt::QueuedConnection);
}

}
