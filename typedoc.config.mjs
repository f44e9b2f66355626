// Not JSON: TypeDoc keeps reading modules when it moves to the next compiler.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { Converter, ReflectionKind } from 'typedoc'

const published = ['packages', 'examples']
  .flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`))
  .filter((path) => existsSync(`${path}/src/index.ts`))
  .filter((path) => JSON.parse(readFileSync(`${path}/package.json`, 'utf8')).private !== true)

/**
 * Two sorts of members need no comment of their own: those of an inline type (`{ readonly min: number }`, one case of a union),
 * which the comment of what has that type tells; and those that a standard type asks for (`Symbol.asyncDispose`, the name of an error).
 * @param {import('typedoc').Application} app
 */
function someMembersNeedNoComment(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const names = project
      .getReflectionsByKind(ReflectionKind.Property | ReflectionKind.CallSignature)
      .filter((member) => !member.hasComment() && member.name !== '__type' && !hasOwner(member, ReflectionKind.Parameter))
      // What is exported from another package again has to be documented there.
      .filter((member) => project.getSymbolIdFromReflection(member)?.packageName === project.packageName)
      .filter((member) => hasOwner(member, ReflectionKind.TypeLiteral) || member.overwrites || member.implementationOf)
      .map((member) => member.getFriendlyFullName())
    app.options.setValue('intentionallyNotDocumented', [...new Set(names)])
  })
}

/**
 * @param {import('typedoc').Reflection} member
 * @param {ReflectionKind} kind
 */
function hasOwner(member, kind) {
  for (let owner = member.parent; owner !== undefined; owner = owner.parent) if (owner.kindOf(kind)) return true
  return false
}

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'cni-offload',
  entryPointStrategy: 'packages',
  entryPoints: published,
  out: 'docs/api',
  readme: 'README.md',
  treatWarningsAsErrors: true,
  // The readme links to folders, which have no page in the reference.
  validation: { invalidPath: false },
  plugin: [someMembersNeedNoComment],
  // In packages mode the rules of the root are not those of the packages: what shall hold in each one stands here.
  packageOptions: {
    // Links to sources would need the address of a repository.
    disableSources: true,
    exclude: ['**/src/gen/**'],
    excludeInternal: true,
    excludePrivate: true,
    sort: ['source-order'],
    requiredToBeDocumented: ['Function', 'Class', 'Interface', 'TypeAlias', 'Variable', 'Method', 'Property', 'Accessor'],
    validation: { notExported: false, invalidLink: true, notDocumented: true, invalidPath: true, rewrittenLink: true },
  },
}
