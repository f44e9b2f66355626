/** The part of a package.json that the rules look at. */
export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly private?: boolean
  readonly description?: string
  readonly license?: string
  readonly type?: string
  readonly sideEffects?: boolean
  readonly engines?: Readonly<Record<string, string>>
  readonly files?: readonly string[]
  readonly exports?: Readonly<Record<string, string>>
  readonly bin?: Readonly<Record<string, string>>
  readonly publishConfig?: {
    readonly access?: string
    readonly exports?: Readonly<Record<string, string | { readonly types?: string; readonly default?: string }>>
    readonly bin?: Readonly<Record<string, string>>
  }
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** One package of the workspace, as read from disk. */
export interface WorkspacePackage {
  /** Path from the root, such as `packages/sdk`. */
  readonly folder: string
  readonly manifest: Manifest
  /** What the files under `src` import, with the file that does it. */
  readonly imports: readonly { readonly file: string; readonly specifier: string }[]
  /** `path` entries of the references in tsconfig.json, resolved to folders from the root; undefined without a tsconfig.json. */
  readonly references: readonly string[] | undefined
  /** Does this path inside the package exist? */
  readonly has: (path: string) => boolean
}

const SCOPE = '@cni-offload/'

/** Who may import whom (folder names); composition roots, examples, benchmarks and end-to-end tests may import all. */
const MAY_IMPORT: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^packages\/(sdk|shim)$/, []],
  [/^packages\/(protocol|linux)$/, ['sdk']],
  [/^packages\/(host|agent)$/, ['sdk', 'protocol', 'linux']],
  // Cilium's plugin is driven by the engine that drives any other CNI's.
  [/^packages\/adapter-cilium$/, ['sdk', 'linux', 'adapter-delegate']],
  [/^packages\/(adapter-.*|hw-.*)$/, ['sdk', 'linux']],
  [/^packages\/testing$/, ['sdk', 'protocol', 'linux']],
  [/^packages\/operator$/, ['sdk', 'protocol']],
]

/** The package that a specifier names, undefined for a relative path or a module of Node. */
export function packageOf(specifier: string): string | undefined {
  if (/^(\.|\/|node:|#)/.test(specifier)) return undefined
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]
}

/** `./src/cni/index.ts` → `./dist/cni/index`, the stem of what the compiler makes of it. */
function distStem(source: string): string {
  return source.replace(/^\.\/src\//, './dist/').replace(/\.m?ts$/, '')
}

function manifestRules(pkg: WorkspacePackage, all: ReadonlyMap<string, WorkspacePackage>): string[] {
  const { manifest } = pkg
  const found: string[] = []
  const expect = (holds: boolean, message: string): void => void (holds || found.push(message))
  expect(manifest.name.startsWith(SCOPE), `name ${manifest.name} is not in the scope ${SCOPE}`)
  expect(manifest.license === 'Apache-2.0', 'license must be Apache-2.0')
  expect(manifest.type === 'module', 'type must be module')
  expect(manifest.engines?.['node'] === '>=24', 'engines.node must be >=24')
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies'] as const) {
    for (const [name, range] of Object.entries(manifest[kind] ?? {})) {
      const wanted = all.has(name) ? 'workspace:*' : 'catalog:'
      expect(range === wanted, `${kind}.${name} is ${range}, must be ${wanted}`)
    }
  }
  if (manifest.private === true) return found
  expect((manifest.description ?? '') !== '', 'description is missing')
  expect(manifest.sideEffects === false, 'sideEffects must be false')
  expect(manifest.publishConfig?.access === 'public', 'publishConfig.access must be public')
  for (const file of ['dist', 'src']) expect(manifest.files?.includes(file) === true, `files lacks ${file}`)
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    expect(all.get(name)?.manifest.private !== true, `a published package depends on ${name}, which is private`)
  }
  return [...found, ...exportRules(pkg)]
}

function exportRules(pkg: WorkspacePackage): string[] {
  const { manifest } = pkg
  const found: string[] = []
  const published = manifest.publishConfig?.exports ?? {}
  const keys = new Set([...Object.keys(manifest.exports ?? {}), ...Object.keys(published)])
  for (const key of keys) {
    const source = manifest.exports?.[key]
    const target = published[key]
    if (source === undefined || target === undefined) {
      found.push(`exports["${key}"] must stand in exports and in publishConfig.exports`)
    } else if (!source.startsWith('./src/')) {
      if (target !== source) found.push(`exports["${key}"] is ${source}, publishConfig.exports has another file`)
    } else {
      if (!pkg.has(source)) found.push(`exports["${key}"]: ${source} does not exist`)
      const stem = distStem(source)
      const types = typeof target === 'string' ? undefined : target.types
      const code = typeof target === 'string' ? undefined : target.default
      if (!(types?.startsWith(`${stem}.d.`) === true && code?.startsWith(`${stem}.`) === true))
        found.push(`publishConfig.exports["${key}"] must be {types, default} of ${stem}`)
    }
  }
  // A published package may have commands that exist only when built; none may be there only in the workspace.
  for (const name of Object.keys(manifest.bin ?? {})) {
    if (manifest.publishConfig?.bin?.[name] === undefined) found.push(`bin ${name} is not in publishConfig.bin`)
  }
  for (const [name, file] of Object.entries(manifest.bin ?? {})) if (!pkg.has(file)) found.push(`bin ${name}: ${file} does not exist`)
  return found
}

function importRules(pkg: WorkspacePackage, all: ReadonlyMap<string, WorkspacePackage>): string[] {
  const { manifest, folder } = pkg
  const found: string[] = []
  const declared = new Set([
    manifest.name,
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
    ...Object.keys(manifest.optionalDependencies ?? {}),
  ])
  const allowed = MAY_IMPORT.find(([pattern]) => pattern.test(folder))?.[1]
  for (const { file, specifier } of pkg.imports) {
    const name = packageOf(specifier)
    if (name === undefined) continue
    if (!declared.has(name)) found.push(`${file} imports ${name}, which is not a dependency`)
    if (name === 'tsyringe' && !file.startsWith('packages/sdk/src/runtime/'))
      found.push(`${file} imports tsyringe; only packages/sdk/src/runtime may`)
    const target = all.get(name)
    if (target === undefined) continue
    if (allowed !== undefined && name !== manifest.name && !allowed.includes(name.slice(SCOPE.length)))
      found.push(`${file} imports ${name}; ${folder} may import ${allowed.length > 0 ? allowed.join(', ') : 'no package of ours'}`)
    const subpath = `.${specifier.slice(name.length)}`
    if (target.manifest.exports?.[subpath] === undefined) found.push(`${file} imports ${specifier}, which ${name} does not export`)
  }
  return found
}

function referenceRules(pkg: WorkspacePackage, all: ReadonlyMap<string, WorkspacePackage>): string[] {
  if (pkg.references === undefined) return []
  const wanted = Object.keys(pkg.manifest.dependencies ?? {}).flatMap((name) => all.get(name)?.folder ?? [])
  const missing = wanted.filter((folder) => pkg.references?.includes(folder) !== true)
  const extra = pkg.references.filter((folder) => !wanted.includes(folder))
  return [
    ...missing.map((folder) => `tsconfig.json lacks a reference to ${folder}, which is a dependency`),
    ...extra.map((folder) => `tsconfig.json refers to ${folder}, which is not a dependency`),
  ]
}

/** Everything that is wrong in a workspace, one sentence each, led by the folder. */
export function violations(packages: readonly WorkspacePackage[]): string[] {
  const all = new Map(packages.map((pkg) => [pkg.manifest.name, pkg]))
  const found = packages.flatMap((pkg) =>
    [...manifestRules(pkg, all), ...importRules(pkg, all), ...referenceRules(pkg, all)].map((message) => `${pkg.folder}: ${message}`),
  )
  const versions = new Set(packages.filter((pkg) => pkg.manifest.private !== true).map((pkg) => pkg.manifest.version))
  if (versions.size > 1) found.push(`published packages must have one version, found ${[...versions].join(', ')}`)
  return [...new Set(found)]
}
