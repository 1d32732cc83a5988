// The widgets. A larger program would have them in QML or in a .ui file.
#pragma once

#include <QtWidgets/QApplication>
#include <QtWidgets/QHeaderView>
#include <QtWidgets/QPushButton>
#include <QtWidgets/QTableWidget>
#include <QtWidgets/QVBoxLayout>

#include <memory>

#include "rust/cxx.h"

namespace qt_window {

inline QString
text(rust::Str str)
{
  return QString::fromUtf8(str.data(), static_cast<qsizetype>(str.size()));
}

inline std::unique_ptr<QApplication>
make_application()
{
  // It wants both for as long as it lives.
  static char name[] = "qt-window";
  static char* argv[] = { name, nullptr };
  static int argc = 1;
  return std::make_unique<QApplication>(argc, argv);
}

inline int
exec()
{
  return QApplication::exec();
}

inline void
quit()
{
  QApplication::quit();
}

inline void
set_text(QPushButton& button, rust::Str label)
{
  button.setText(text(label));
}

// A table with a button below it.
class Window
{
public:
  Window(rust::Str title, rust::Slice<const rust::Str> columns)
    : m_table(new QTableWidget(0, static_cast<int>(columns.size())))
    , m_button(new QPushButton)
  {
    for (std::size_t column = 0; column < columns.size(); ++column) {
      auto* header = new QTableWidgetItem(text(columns[column]));
      header->setTextAlignment(Qt::AlignLeft | Qt::AlignVCenter);
      m_table->setHorizontalHeaderItem(static_cast<int>(column), header);
    }
    m_table->horizontalHeader()->setSectionResizeMode(0, QHeaderView::ResizeToContents);
    m_table->horizontalHeader()->setStretchLastSection(true);
    m_table->verticalHeader()->hide();
    m_table->setEditTriggers(QAbstractItemView::NoEditTriggers);
    m_table->setFocusPolicy(Qt::NoFocus);
    m_table->setSelectionMode(QAbstractItemView::NoSelection);
    auto* layout = new QVBoxLayout(&m_window);
    layout->addWidget(m_table);
    layout->addWidget(m_button);
    m_window.setWindowTitle(text(title));
    m_window.resize(560, 240);
    m_window.show();
  }

  void set_cell(std::int32_t row, std::int32_t column, rust::Str value)
  {
    if (row >= m_table->rowCount()) {
      m_table->setRowCount(row + 1);
    }
    if (auto* item = m_table->item(row, column)) {
      item->setText(text(value));
    } else {
      m_table->setItem(row, column, new QTableWidgetItem(text(value)));
    }
  }

  QPushButton& button() { return *m_button; }

private:
  QWidget m_window;
  // Children of the window, which deletes them.
  QTableWidget* m_table;
  QPushButton* m_button;
};

inline std::unique_ptr<Window>
make_window(rust::Str title, rust::Slice<const rust::Str> columns)
{
  return std::make_unique<Window>(title, columns);
}

}
