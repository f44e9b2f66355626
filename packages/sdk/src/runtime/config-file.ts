import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import type { ConfiguredPlugin, PluginKind } from '../contracts/plugin.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import { loadPlugin, type ModuleImporter, type PluginReference } from './plugin-loader.ts'

/**
 * Reads a configuration file.
 *
 * @param parse - makes values of the text, and throws what is wrong with it
 * @throws OffloadError INVALID_CONFIG naming file, path, value and what is expected
 */
export async function readConfigFile<T>(file: string, schema: z.ZodType<T>, parse: (text: string) => unknown): Promise<T> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new OffloadError('INVALID_CONFIG', `${file} cannot be read: ${firstLine(error)}`, {
      cause: error,
      hint: 'Give the path of the configuration with --config.',
    })
  })
  return parseWith(schema, parsed(file, text, parse), file, 'INVALID_CONFIG')
}

function parsed(file: string, text: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `${file} cannot be parsed: ${firstLine(error)}`, { cause: error })
  }
}

/** Makes paths absolute as a configuration file means them: relative to its own folder. */
export function pathsFrom(file: string): (path: string) => string {
  const folder = dirname(file)
  return (path) => resolve(folder, path)
}

/** Where a plugin is named. */
export interface PluginPlace {
  /** Path of the configuration file. */
  readonly file: string
  /** Path of the entry in it, such as `adapters.0`. */
  readonly entry: string
}

/** {@link loadPlugin} for an entry of a configuration file. @throws OffloadError INVALID_CONFIG naming file and entry too */
export async function loadPluginOf<K extends PluginKind>(
  { file, entry }: PluginPlace,
  kind: K,
  reference: PluginReference,
  importer: ModuleImporter,
): Promise<ConfiguredPlugin<K>> {
  try {
    return await loadPlugin(kind, reference, importer)
  } catch (error) {
    const failure = OffloadError.from(error, 'INVALID_CONFIG')
    throw new OffloadError(failure.code, `${file}: ${entry}: ${failure.message}`, {
      cause: error,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    })
  }
}

/** Parsers show the place in an excerpt below the message; the message names line and column already. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.split('\n', 1)[0] ?? text
}
