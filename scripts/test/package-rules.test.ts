import { describe, expect, it } from 'vitest'
import { type Manifest, type WorkspacePackage, packageOf, violations } from '../lib/package-rules.ts'

const manifest = (name: string, change: Partial<Manifest> = {}): Manifest => ({
  name: `@cni-offload/${name}`,
  version: '1.0.0',
  description: 'A package',
  license: 'Apache-2.0',
  type: 'module',
  engines: { node: '>=24' },
  sideEffects: false,
  files: ['dist', 'src'],
  exports: { '.': './src/index.ts', './package.json': './package.json' },
  publishConfig: {
    access: 'public',
    exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' }, './package.json': './package.json' },
  },
  ...change,
})

const pkg = (name: string, change: Partial<Manifest> = {}, rest: Partial<WorkspacePackage> = {}): WorkspacePackage => ({
  folder: `packages/${name}`,
  manifest: manifest(name, change),
  imports: [],
  references: Object.keys(change.dependencies ?? {})
    .filter((dependency) => dependency.startsWith('@cni-offload/'))
    .map((dependency) => dependency.replace('@cni-offload', 'packages')),
  has: () => true,
  ...rest,
})

const imports = (folder: string, specifier: string) => ({ imports: [{ file: `packages/${folder}/src/a.ts`, specifier }] })
const sdk = pkg('sdk')

describe('packageOf', () => {
  it.each([
    ['@cni-offload/sdk/cni', '@cni-offload/sdk'],
    ['zod', 'zod'],
    ['yaml/util', 'yaml'],
    ['./a.ts', undefined],
    ['../a.ts', undefined],
    ['node:fs', undefined],
  ])('%s → %s', (specifier, name) => {
    expect(packageOf(specifier)).toBe(name)
  })
})

describe('violations', () => {
  it('finds nothing in a good workspace', () => {
    const host = pkg('host', { dependencies: { '@cni-offload/sdk': 'workspace:*', zod: 'catalog:' } }, imports('host', '@cni-offload/sdk'))
    expect(violations([sdk, host])).toEqual([])
  })

  it.each<[string, WorkspacePackage, RegExp]>([
    ['another licence', pkg('a', { license: 'MIT' }), /license/],
    ['CommonJS', pkg('a', { type: 'commonjs' }), /type/],
    ['another Node', pkg('a', { engines: { node: '>=20' } }), /engines/],
    ['side effects', pkg('a', { sideEffects: true }), /sideEffects/],
    ['a range of its own', pkg('a', { dependencies: { zod: '^4' } }), /zod is \^4, must be catalog:/],
    ['a version of a package of ours', pkg('a', { devDependencies: { '@cni-offload/sdk': '1.0.0' } }), /must be workspace:\*/],
    [
      'an export that is not published',
      pkg('a', { exports: { '.': './src/index.ts' }, publishConfig: { access: 'public' } }),
      /exports\["\."\] must stand in/,
    ],
    [
      'an export published from elsewhere',
      pkg('a', { exports: { '.': './src/other.ts', './package.json': './package.json' } }),
      /must be \{types, default\} of \.\/dist\/other/,
    ],
    ['an export without a file', pkg('a', {}, { has: () => false }), /src\/index\.ts does not exist/],
    ['a command that is not published', pkg('a', { bin: { a: './src/main.ts' } }), /bin a is not in publishConfig/],
    ['another version', pkg('a', { version: '1.0.1' }), /one version/],
    ['an undeclared import', pkg('a', {}, imports('a', 'zod')), /zod, which is not a dependency/],
    ['tsyringe', pkg('a', { dependencies: { tsyringe: 'catalog:' } }, imports('a', 'tsyringe')), /tsyringe; only/],
    ['a missing reference', pkg('a', { dependencies: { '@cni-offload/sdk': 'workspace:*' } }, { references: [] }), /lacks a reference/],
    ['a reference too many', pkg('a', {}, { references: ['packages/sdk'] }), /refers to packages\/sdk/],
    [
      'a deep import',
      pkg('a', { dependencies: { '@cni-offload/sdk': 'workspace:*' } }, imports('a', '@cni-offload/sdk/src/x.ts')),
      /does not export/,
    ],
    [
      'an import against the direction',
      pkg('linux', { dependencies: { '@cni-offload/host': 'workspace:*' } }, imports('linux', '@cni-offload/host')),
      /packages\/linux may import sdk$/,
    ],
    ['a private dependency', pkg('a', { dependencies: { '@cni-offload/secret': 'workspace:*' } }), /private/],
  ])('refuses %s', (_title, bad, message) => {
    const found = violations([sdk, pkg('host'), pkg('secret', { private: true }), bad])
    expect(found).toEqual(expect.arrayContaining([expect.stringMatching(message)]))
    expect(found).toHaveLength(1)
  })
})
