import { z } from 'zod'
import { type ConfiguredPlugin, isPlugin, type PluginKind } from '../contracts/plugin.ts'
import { OffloadError } from '../errors/offload-error.ts'

/** A plugin as a configuration file names it. */
export interface PluginReference {
  /** Package name, or a path or file URL of a module. */
  readonly plugin: string
  /** Which of the module's exports; needed only where it exports several plugins of the wanted kind. */
  readonly export?: string | undefined
  /** Options, parsed by the plugin's own schema. */
  readonly options?: Readonly<Record<string, unknown>> | undefined
}

/** Schema of {@link PluginReference}. */
export const pluginReference: z.ZodType<PluginReference> = z.strictObject({
  plugin: z.string().min(1),
  export: z.string().min(1).optional(),
  options: z.record(z.string(), z.unknown()).optional(),
})

/** Imports a module by specifier, as `import()` would from the daemon's own place. */
export type ModuleImporter = (specifier: string) => Promise<unknown>

const missing = (name: string, error: unknown): OffloadError =>
  new OffloadError('INVALID_CONFIG', `plugin "${name}" could not be loaded: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
    hint: `Install the package beside the daemon (npm install ${name}), or give the path of its module.`,
  })

/**
 * Loads a plugin by package name and parses its options.
 *
 * @param kind - what the plugin must make
 * @param reference - which module, which of its exports, and the options
 * @param importer - how modules are found; a daemon passes its own `import()` so that plugins are found beside it
 * @throws OffloadError INVALID_CONFIG when the module does not load, has no (or more than one) fitting export, or refuses the options
 */
export async function loadPlugin<K extends PluginKind>(
  kind: K,
  reference: PluginReference,
  importer: ModuleImporter = (specifier) => import(specifier) as Promise<unknown>,
): Promise<ConfiguredPlugin<K>> {
  const name = reference.plugin
  const module = await importer(name).catch((error: unknown) => {
    throw missing(name, error)
  })
  const exports = Object.entries(typeof module === 'object' && module !== null ? module : {})
  const fitting = exports.filter(([, value]) => isPlugin(value) && value.definition.kind === kind)
  const names = [...new Map(fitting.map(([key, value]) => [value, key])).values()]
  const wanted = reference.export ?? (names.length === 1 ? names[0] : undefined)
  const found = fitting.find(([key]) => key === wanted)?.[1]
  if (!isPlugin(found)) {
    const choice =
      names.length === 0
        ? `it exports none (exports: ${exports.map(([key]) => key).join(', ') || 'nothing'})`
        : `choose one of: ${names.join(', ')}`
    throw new OffloadError(
      'INVALID_CONFIG',
      `plugin "${name}"${reference.export === undefined ? '' : `, export "${reference.export}"`}: a plugin of kind ${kind} is expected; ${choice}`,
      {
        hint: 'Name the export by the key "export".',
      },
    )
  }
  const configured = found(reference.options ?? {})
  // The filter above has compared the kind at run time; the type of a dynamically imported plugin cannot say so.
  return configured as unknown as ConfiguredPlugin<K>
}
