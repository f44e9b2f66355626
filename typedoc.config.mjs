// Not JSON: TypeDoc keeps reading modules when it moves to the next compiler.
import { existsSync, readdirSync, readFileSync } from 'node:fs'

const published = readdirSync('packages')
  .filter((name) => existsSync(`packages/${name}/src/index.ts`))
  .filter((name) => JSON.parse(readFileSync(`packages/${name}/package.json`, 'utf8')).private !== true)

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'cni-offload',
  entryPointStrategy: 'packages',
  entryPoints: published.map((name) => `packages/${name}`),
  out: 'docs/api',
  readme: 'README.md',
  treatWarningsAsErrors: true,
  // In packages mode the rules of the root are not those of the packages: what shall hold in each one stands here.
  packageOptions: {
    excludeInternal: true,
    excludePrivate: true,
    sort: ['source-order'],
    requiredToBeDocumented: ['Function', 'Class', 'Interface', 'TypeAlias', 'Variable', 'Method', 'Property', 'Accessor'],
    validation: { notExported: false, invalidLink: true, notDocumented: true, invalidPath: true, rewrittenLink: true },
  },
}
