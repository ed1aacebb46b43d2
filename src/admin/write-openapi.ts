// `npm run openapi`: writes the description of the API beside the code, for those who read it there.
import { writeFileSync } from 'node:fs';
import { openapiDocument } from './openapi.ts';
import { routes } from './routes.ts';

const file = new URL('openapi.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(openapiDocument(routes), null, 2)}\n`);
