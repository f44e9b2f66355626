import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ModuleImporter } from './plugin-loader.ts'

/**
 * Imports modules as if the import stood in a file of one of the folders, tried in order: a daemon finds plugins that are
 * installed beside its configuration or in its working directory, although it does not depend on them itself. Paths that
 * begin with `./` or `../` are relative to the first folder that has such a file.
 *
 * What is in none of them is imported as from here.
 */
export function importBeside(folders: readonly string[]): ModuleImporter {
  return async (specifier) => {
    for (const folder of folders) {
      const found = resolveIn(resolve(folder), specifier)
      if (found !== undefined) return (await import(pathToFileURL(found).href)) as unknown
    }
    return (await import(specifier)) as unknown
  }
}

const resolveIn = (folder: string, specifier: string): string | undefined => {
  try {
    return createRequire(join(folder, 'importer.js')).resolve(specifier)
  } catch {
    return undefined
  }
}
