// Command ferretdb is a MongoDB-protocol server for tests: FerretDB on SQLite files, until it gets SIGTERM.
//
// It embeds FerretDB's library, because the project's own command cannot be installed with `go install`.
// Telemetry is off: an embedded FerretDB starts no reporter.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", "", "the address to listen on, such as 127.0.0.1:27017")
	data := flag.String("data", "", "an existing folder for the databases, one SQLite file each")
	flag.Parse()

	if err := run(*listen, *data); err != nil {
		fmt.Fprintf(os.Stderr, "ferretdb: %s\n", err)
		os.Exit(1)
	}
}

func run(listen, data string) error {
	if listen == "" || data == "" || flag.NArg() != 0 {
		return fmt.Errorf("expected -listen HOST:PORT -data FOLDER, got %q", os.Args[1:])
	}
	folder, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("the folder %q: %w", data, err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// FerretDB takes folders only, and knows them by the slash at the end.
	// Nothing waits for the disk: what the machine loses when it crashes, the tests have no use for.
	files := url.URL{
		Scheme:   "file",
		Path:     folder + "/",
		RawQuery: url.Values{"_pragma": {"synchronous(off)"}}.Encode(),
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: listen},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Handler:   "sqlite",
		SQLiteURL: files.String(),
	})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
