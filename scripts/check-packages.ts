/** Checks the rules for manifests and imports (scripts/lib/package-rules.ts) on the whole workspace. Exits with 1 and a list. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { type Manifest, type WorkspacePackage, violations } from './lib/package-rules.ts'

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)'([^'\n]+)'/g

function importsOf(folder: string): { file: string; specifier: string }[] {
  return globSync(`${folder}/src/**/*.{ts,mts}`).flatMap((file) =>
    // A comment may show an import as an example without making one.
    [
      ...readFileSync(file, 'utf8')
        .replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
        .matchAll(IMPORT),
    ].flatMap(([, specifier]) => (specifier === undefined ? [] : [{ file, specifier }])),
  )
}

function referencesOf(folder: string): string[] | undefined {
  const file = join(folder, 'tsconfig.json')
  if (!existsSync(file)) return undefined
  const { references = [] } = JSON.parse(readFileSync(file, 'utf8')) as { references?: { path: string }[] }
  return references.map(({ path }) => normalize(join(folder, path)))
}

const packages: WorkspacePackage[] = globSync('{packages/*,examples/*,bench,e2e}/package.json').map((file) => {
  const folder = dirname(file)
  return {
    folder,
    manifest: JSON.parse(readFileSync(file, 'utf8')) as Manifest,
    imports: importsOf(folder),
    references: referencesOf(folder),
    has: (path) => existsSync(join(folder, path)),
  }
})

const found = violations(packages)
for (const message of found) console.error(message)
console.log(`${packages.length} packages, ${found.length} violations`)
process.exitCode = found.length > 0 ? 1 : 0
