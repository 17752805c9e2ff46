/* The address holds the present view. */
"use strict";
gpt2.address = { changed() {} };
