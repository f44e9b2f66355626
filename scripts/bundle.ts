/**
 * Bundles what tests start as processes, into .cache/bundle: daemons, plugins, fakes. Loading some five hundred modules one by one is most of
 * what a start costs, and the tests start hundreds. What runs is the same code; `register.mjs` puts it in the place of the sources.
 */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..')
const to = join(root, '.cache/bundle')

/** Entries of packages that nothing but a test runner loads. */
const IN_PROCESS = /^packages\/(testing\/src\/(?!cilium\/(main|cni)|octeon\/(main|agent)|faults\/preload)|shim\/)/
const ALSO = ['packages/testing/src/adapter/crash/program.ts', 'packages/cli/src/lab/octeon/plugins.ts', 'packages/linux/src/net/worker.ts']

interface Manifest {
  readonly exports?: Readonly<Record<string, unknown>>
}

async function entriesOf(folder: string): Promise<string[]> {
  const manifest = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8')) as Manifest
  const targets = Object.values(manifest.exports ?? {}).filter((target): target is string => typeof target === 'string')
  return targets.filter((target) => target.endsWith('.ts')).map((target) => join(folder, target))
}

const folders = (
  await Promise.all(['packages', 'examples'].map(async (at) => (await readdir(join(root, at))).map((name) => join(at, name))))
).flat()
const entries = [...(await Promise.all(folders.map(entriesOf))).flat().filter((file) => !IN_PROCESS.test(file)), ...ALSO]
const bundledAs = (file: string): string => file.replace(/\.ts$/, '.js')

/** Code that looks for files beside itself goes on looking where it was written, but for its threads: those are in the bundle, too. */
const keepPlaces = {
  name: 'keep-places',
  transform(code: string, id: string): string {
    const own = relative(root, id)
    const url = pathToFileURL(own === 'packages/linux/src/net/client.ts' ? join(to, bundledAs(own)) : id).href
    const folder = JSON.stringify(dirname(id))
    if (own.includes('node_modules')) return code.replaceAll(/\b__dirname\b/g, folder)
    const resolve = `((name) => __url.pathToFileURL(__module.createRequire(${JSON.stringify(url)}).resolve(name)).href)`
    const placed = code
      .replaceAll('import.meta.url', JSON.stringify(url))
      .replaceAll('import.meta.dirname', folder)
      .replaceAll('import.meta.resolve', resolve)
    return placed.includes(resolve) ? `import * as __url from 'node:url';import * as __module from 'node:module';${placed}` : placed
  },
}

const bundle = await rolldown({
  input: Object.fromEntries(entries.map((file) => [file.replace(/\.ts$/, ''), join(root, file)])),
  platform: 'node',
  plugins: [keepPlaces],
  logLevel: 'warn',
})
const { output } = await bundle.write({ dir: to, format: 'esm', entryFileNames: '[name].js', chunkFileNames: 'shared/[name]-[hash].js' })
const places = Object.fromEntries(
  entries.map((file) => [pathToFileURL(join(root, file)).href, pathToFileURL(join(to, bundledAs(file))).href]),
)
await writeFile(join(to, 'package.json'), '{"type":"module"}')
await writeFile(
  join(to, 'register.mjs'),
  `import { registerHooks } from 'node:module'
const places = new Map(Object.entries(${JSON.stringify(places)}))
registerHooks({
  resolve(name, context, next) {
    const found = next(name, context)
    const url = places.get(found.url)
    return url === undefined ? found : { ...found, url, format: 'module', shortCircuit: true }
  },
})
`,
)

// Written over and not emptied before: tests that run already load from it.
const written = new Set(['package.json', 'register.mjs', ...output.map(({ fileName }) => fileName)])
const present = (await readdir(to, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
const stale = present.map((entry) => relative(to, join(entry.parentPath, entry.name))).filter((file) => !written.has(file))
await Promise.all(stale.map((file) => rm(join(to, file))))
