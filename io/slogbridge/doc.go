// SPDX-License-Identifier: Apache-2.0

// Package slogbridge makes a zap logger of a slog logger.
//
// The modules of this SDK log through zap. A program that uses log/slog gives
// [Logger] wherever a *zap.Logger is wanted:
//
//	credentials.CacheOptions{Logger: slogbridge.Logger(slog.Default())}
//
// Package iot has an option for it, WithSlog.
package slogbridge
